#include "autograd/autocast.h"

#include <unordered_map>

#include "autograd/grad_mode.h"
#include "autograd/hook.h"
#include "autograd/node.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"

namespace reckon::autograd {
namespace {

// Casts of leaves (weights), by the leaf's storage; an entry dies with the last holder of the cast.
struct CachedCast {
  std::weak_ptr<Storage> source, storage;
  Layout layout;
  DType dtype;
};
thread_local std::unordered_map<const Storage*, CachedCast> cache;

bool is_leaf(const Tensor& t) {
  const AutogradMeta* meta = autograd_meta(t);
  return meta && meta->requires_grad && !meta->node;
}

// Shares the bytes of a cast, never its node: each use adds its gradient to the weight in the weight's own
// precision, so sharing cannot change a result.
Tensor cast_weight(const Tensor& t, DType to) {
  CachedCast& entry = cache[t.storage().get()];
  if (auto source = entry.source.lock(); source == t.storage() && entry.dtype == to && t.contiguous()) {
    if (auto storage = entry.storage.lock()) {
      TensorList shared{Tensor(storage, entry.layout, to)};
      if (grad_state().enabled) attach_node(ops::cast_definition(), {&t, 1}, ops::cast_attrs(to), 1, shared);
      return shared[0];
    }
  }
  Tensor made = ops::cast(t, to);
  entry = {t.storage(), made.storage(), made.layout(), to};
  return made;
}

}  // namespace

AutocastState& autocast_state() {
  thread_local AutocastState state;
  return state;
}

AutocastScope::AutocastScope(DType type, bool low_residual) : before_(autocast_state()) {
  const bool enabled = type == DType::bf16 || type == DType::f16;
  autocast_state() = {enabled, type, enabled && low_residual};
}

Tensor residual_stream(const Tensor& x) {
  const AutocastState& state = autocast_state();
  return state.enabled && state.low_residual ? ops::cast(x, state.low) : x;
}

Tensor in_stream_type(const Tensor& x, const Tensor& branch) {
  const bool wider = branch.dtype() == DType::f32 && x.dtype() != DType::f64;
  return wider ? ops::cast(branch, x.dtype()) : branch;
}

Tensor add_to_residual(const Tensor& x, const Tensor& branch) { return ops::add(x, in_stream_type(x, branch)); }

std::vector<Tensor> autocast_inputs(const ops::OpDef& op, std::span<const Tensor> inputs) {
  const DType low = autocast_state().low;
  std::vector<Tensor> out(inputs.begin(), inputs.end());
  for (size_t i = 0; i < out.size(); ++i) {
    Tensor& t = out[i];
    if (!t.defined() || !is_compute_type(t.dtype()) || t.dtype() == DType::f64) continue;
    if (op.precision == ops::Precision::fp32)
      t = ops::cast(t, DType::f32);
    else if (op.precision == ops::Precision::low && ((op.low_inputs >> i) & 1u) && t.dtype() != low)
      t = is_leaf(t) ? cast_weight(t, low) : ops::cast(t, low);
  }
  return out;
}

}  // namespace reckon::autograd
