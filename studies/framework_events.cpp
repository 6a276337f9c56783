#include "studies/framework_events.h"

#include <algorithm>

namespace reckon::profiler {

bool inside_module(std::string_view module, std::string_view prefix) {
  return module.starts_with(prefix) && (module.size() == prefix.size() || module[prefix.size()] == '.');
}

FrameworkEvents framework_events(std::span<const Event> events, const FrameworkRules& rules) {
  const NameId linear = intern("linear"), layer_norm = intern("layer_norm"), sigmoid = intern("sigmoid"),
               silu = intern("silu");
  FrameworkEvents out;
  for (const Event& e : events) {
    if (e.kind != EventKind::op_begin) continue;
    if (e.phase != Phase::forward && e.phase != Phase::loss && e.phase != Phase::recompute) continue;
    if (e.op == linear) {
      const std::string_view module = name_of(e.module);
      const bool wrapped = std::ranges::any_of(rules.autocast_modules,
                                               [&](const std::string& m) { return inside_module(module, m); });
      ++out.linear_calls;
      out.linear += wrapped ? 2 : 1;
    } else if (e.op == layer_norm) {
      ++out.native_layer_norm;
    } else if (e.op == sigmoid) {
      ++out.sigmoid;
    } else if (e.op == silu) {
      ++out.silu;
    }
  }
  return out;
}

}  // namespace reckon::profiler
