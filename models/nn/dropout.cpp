#include "models/nn/dropout.h"

#include "autograd/autocast.h"
#include "autograd/fusion.h"
#include "autograd/grad_mode.h"
#include "ops/dropout/dropout.h"

namespace reckon::models {
namespace {

ops::DropoutKey next_key() {
  autograd::Generator& g = autograd::grad_state().generator;
  return {g.seed, g.next_stream++};
}

}  // namespace

Tensor dropout(const Tensor& x, double p, const Dims& shared_axes, const DropoutSource& drop) {
  return drop.training && p != 0 ? ops::dropout(x, p, next_key(), shared_axes) : x;
}

Tensor add_dropped(const Tensor& residual, const Tensor& update, double p, int shared_axis,
                   std::string_view site, const DropoutSource& drop) {
  using autograd::add_to_residual;
  if (drop.recorded) return add_to_residual(residual, drop.recorded(site, update));
  if (drop.training && p != 0 && autograd::fuses(autograd::Fusion::dropout_add))
    return ops::dropout_add(residual, autograd::in_stream_type(residual, update), p, next_key(), {shared_axis});
  return add_to_residual(residual, dropout(update, p, {shared_axis}, drop));
}

}  // namespace reckon::models
