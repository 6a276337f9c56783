// Loss scaling as torch.amp.GradScaler documents it: an infinite or NaN gradient shrinks the scale and starts
// the count again; `interval` good steps in a row grow it, unless it would become infinite.
#include <cmath>

#include "ops/grad_scaler/grad_scaler_attrs.h"
#include "ops/reference.h"

namespace reckon::ops {
namespace {

HostTensors non_finite(const ReferenceCall& c) {
  bool found = false;
  for (const HostTensor& g : c.in) found |= !g.flat().isFinite().all();
  return {{{1}, {found ? 1.0 : 0.0}}};
}

HostTensors scaler_update(const ReferenceCall& c) {
  const auto& t = c.as<ScalerAttrs>();
  double scale = c.in[scaler_update_in::scale].values[0],
         good_steps = c.in[scaler_update_in::tracker].values[0] + 1;
  if (c.in[scaler_update_in::found_inf].values[0] != 0) {
    scale *= t.backoff;
    good_steps = 0;
  } else if (good_steps == static_cast<double>(t.interval)) {
    if (std::isfinite(scale * t.growth)) scale *= t.growth;
    good_steps = 0;
  }
  return {{{1}, {scale}}, whole_numbers({1}, {good_steps})};
}

}  // namespace

std::vector<OpReference> grad_scaler_references() {
  const auto flag = [](std::string name, double last, double expected) {
    return OpValues{.name = std::move(name),
                    .inputs = {{{2}, {1, 2}}, {{3}, {3, 4, last}}},
                    .outputs = {{{1}, {expected}}},
                    .source = "the definition"};
  };
  return {{.op = "non_finite",
           .compute = non_finite,
           .values = {flag("numbers", 5, 0), flag("infinity", -INFINITY, 1), flag("NaN", NAN, 1)}},
          {.op = "scaler_update",
           .compute = scaler_update,
           .golden = {"ops/grad_scaler_rule.safetensors", "ops/grad_scaler_rule_overflow.safetensors"}}};
}

}  // namespace reckon::ops
