#include "models/nn/dropout.h"

#include "autograd/autocast.h"
#include "autograd/fusion.h"
#include "autograd/grad_mode.h"
#include "ops/dropout/dropout.h"

namespace reckon::models {
namespace {

// Calls draw(key) with the generator's next stream, which is taken only when the call succeeds.
Tensor with_next_key(auto draw) {
  autograd::Generator& g = autograd::grad_state().generator;
  Tensor out = draw(ops::DropoutKey{g.seed, g.next_stream});
  ++g.next_stream;
  return out;
}

}  // namespace

Tensor dropout(const Tensor& x, double p, const Dims& shared_axes, const DropoutSource& drop) {
  if (!drop.training || p == 0) return x;
  return with_next_key([&](ops::DropoutKey key) { return ops::dropout(x, p, key, shared_axes); });
}

Tensor add_dropped(const Tensor& residual, const Tensor& update, double p, int shared_axis,
                   std::string_view site, const DropoutSource& drop) {
  using autograd::add_to_residual;
  if (drop.recorded) return add_to_residual(residual, drop.recorded(site, update));
  if (drop.training && p != 0 && autograd::fuses(autograd::Fusion::dropout_add))
    return with_next_key([&](ops::DropoutKey key) {
      return ops::dropout_add(residual, autograd::in_stream_type(residual, update), p, key, {shared_axis});
    });
  return add_to_residual(residual, dropout(update, p, {shared_axis}, drop));
}

}  // namespace reckon::models
