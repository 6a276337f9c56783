// Counter values by op, module and phase. Apart from the choice of metrics because names are interned
// here: the plugin has no part in it.
#include <algorithm>
#include <map>
#include <tuple>

#include "profiler/device_metrics.h"

namespace reckon::profiler::cupti {
namespace {

bool is_half(std::string_view name) { return name.find("_op_h") != std::string_view::npos; }

// "NUMBER/module/op/phase"; false when it is none.
bool split(std::string_view range, CountedWork& to) {
  const size_t phase_at = range.rfind('/');
  if (phase_at == std::string_view::npos || phase_at == 0) return false;
  const size_t op_at = range.rfind('/', phase_at - 1);
  if (op_at == std::string_view::npos) return false;
  std::string_view module = range.substr(0, op_at);
  if (const size_t slash = module.find('/'); slash != std::string_view::npos) module.remove_prefix(slash + 1);
  if (module == "(top)") module = {};
  const std::string_view phase = range.substr(phase_at + 1);
  for (int p = 0; p < kPhases; ++p)
    if (reckon::name_of(static_cast<Phase>(p)) == phase) {
      to.op = intern(range.substr(op_at + 1, phase_at - op_at - 1));
      to.module = intern(module);
      to.phase = static_cast<Phase>(p);
      return true;
    }
  return false;
}

}  // namespace

CounterBooks file_ranges(std::span<const std::string> metric_names, std::span<const RangeValues> ranges) {
  const MetricChoice choice = choice_of_names(metric_names);
  CounterBooks books;
  books.joint_tensor_types = choice.joint_tensor_types;
  std::map<std::tuple<NameId, NameId, Phase>, CountedWork> cells;
  for (const RangeValues& r : ranges) {
    CountedWork where;
    if (!split(r.range, where)) {
      ++books.n_unfiled;
      continue;
    }
    CountedWork& w = cells.try_emplace({where.op, where.module, where.phase}, where).first->second;
    add_values(choice, r.values, w);
    for (size_t i = 0; i < std::min(choice.metrics.size(), r.values.size()); ++i)
      books.half_weights_assumed |=
          choice.metrics[i].quantity == Quantity::scalar && is_half(choice.metrics[i].name) && r.values[i] > 0;
  }
  for (const auto& [key, w] : cells) books.work.push_back(w);
  std::stable_sort(books.work.begin(), books.work.end(), [](const CountedWork& a, const CountedWork& b) {
    const auto names = [](const CountedWork& w) {
      return std::tuple(reckon::name_of(w.op), reckon::name_of(w.module), w.phase);
    };
    return names(a) < names(b);
  });
  return books;
}

}  // namespace reckon::profiler::cupti
