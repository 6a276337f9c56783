#include "autograd/autocast.h"

#include <algorithm>
#include <map>
#include <utility>

#include "autograd/grad_mode.h"
#include "autograd/hook.h"
#include "autograd/node.h"
#include "autograd/segment_trace.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"

namespace reckon::autograd {
namespace {

// Casts of leaves (weights), by storage and place in it; an entry is good until its source is written to, and dies
// with the last holder of the cast.
struct CachedCast {
  std::weak_ptr<Storage> source, storage;
  uint32_t version, cast_version;  // of the source and of the cast
  Layout source_layout, layout;
  DType source_dtype, dtype;
};
using CastKey = std::pair<const Storage*, int64_t>;  // and the offset of a view
thread_local std::multimap<CastKey, CachedCast> cache;
thread_local size_t swept_size =
    64;  // the cache is swept of dead entries when it has twice as many as after the last time

CastKey key_of(const Tensor& t) { return {t.storage().get(), t.layout().offset}; }

bool describes(const CachedCast& entry, const Tensor& t, DType to) {
  return entry.source.lock() == t.storage() && entry.version == t.storage()->version() && entry.dtype == to &&
         entry.source_dtype == t.dtype() && entry.source_layout.shape == t.shape() &&
         entry.source_layout.strides == t.strides();
}

bool is_weight(const Tensor& t) {  // trained or frozen
  const AutogradMeta* meta = autograd_meta(t);
  return meta && !meta->node;
}

bool wants_cast(const Tensor& t, DType to) {
  return is_compute_type(t.dtype()) && t.dtype() != DType::f64 && t.dtype() != to;
}

// The cast that somebody still holds, without a gradient; undefined where there is none.
Tensor held_cast(const Tensor& t, DType to) {
  SegmentTrace::note_reads({&t, 1});
  const auto [first, last] = cache.equal_range(key_of(t));
  for (auto it = first; it != last; ++it)
    if (const auto storage = it->second.storage.lock();
        storage && describes(it->second, t, to) && storage->version() == it->second.cast_version)
      return Tensor(storage, it->second.layout, to);
  return {};
}

void sweep() {
  std::erase_if(cache, [](const auto& e) { return e.second.source.expired() || e.second.storage.expired(); });
  swept_size = std::max<size_t>(64, 2 * cache.size());
}

void remember(const Tensor& t, const Tensor& made) {
  const auto [first, last] = cache.equal_range(key_of(t));
  const CachedCast entry{
      t.storage(), made.storage(), t.storage()->version(), made.storage()->version(), t.layout(), made.layout(),
      t.dtype(),   made.dtype()};
  for (auto it = first; it != last; ++it)
    if (it->second.storage.expired() || it->second.version != entry.version) {
      it->second = entry;
      return;
    }
  cache.emplace(key_of(t), entry);
  if (cache.size() > swept_size) sweep();
}

// Shares the bytes of a cast, never its node: each use adds its gradient to the weight in the
// weight's own precision, so sharing cannot change a result. Backward ops give a weight's
// gradient in f32, so it passes through.
Tensor cast_weight(const Tensor& t, DType to) {
  TensorList out{held_cast(t, to)};
  if (!out[0].defined()) {
    out[0] = ops::cast(t, to);
    remember(t, out[0]);
  } else if (grad_state().enabled && t.requires_grad()) {
    const ops::AttrsPtr attrs = ops::cast_attrs(to);
    const ops::Plan plan = ops::plan_of(ops::cast_definition(), {&t, 1}, attrs, t.device().spec(), 1);
    attach_node(ops::cast_definition(), {&t, 1}, attrs, 1, plan, out);
  }
  if (AutogradMeta* meta = autograd_meta(out[0])) meta->grad_dtype = t.dtype();
  return out[0];
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

Tensor in_product_type(const Tensor& weight) {
  const AutocastState& state = autocast_state();
  return state.enabled && weight.defined() && wants_cast(weight, state.low) ? cast_weight(weight, state.low)
                                                                            : weight;
}

WeightCasts::WeightCasts(std::span<const Tensor> weights) {
  const AutocastState& state = autocast_state();
  if (!state.enabled) return;
  const NoGrad no_grad;
  std::vector<Tensor> missing;
  for (const Tensor& t : weights) {
    if (!wants_cast(t, state.low)) continue;
    Tensor held = held_cast(t, state.low);
    if (held.defined())
      held_.push_back(std::move(held));
    else
      missing.push_back(t);
  }
  for (size_t first = 0; first < missing.size(); first += ops::kMostCasts) {
    const std::span<const Tensor> some =
        std::span(missing).subspan(first, std::min(missing.size() - first, size_t{ops::kMostCasts}));
    TensorList made = ops::cast_all(some, state.low);
    for (size_t i = 0; i < some.size(); ++i) {
      remember(some[i], made[i]);
      held_.push_back(std::move(made[i]));
    }
  }
}

std::vector<Tensor> autocast_inputs(const ops::OpDef& op, std::span<const Tensor> inputs) {
  const DType low = autocast_state().low;
  std::vector<Tensor> out(inputs.begin(), inputs.end());
  for (size_t i = 0; i < out.size(); ++i) {
    Tensor& t = out[i];
    if (!t.defined() || !is_compute_type(t.dtype()) || t.dtype() == DType::f64) continue;
    if (op.precision == ops::Precision::fp32)
      t = ops::cast(t, DType::f32);
    else if (op.precision == ops::Precision::low && ((op.low_inputs >> i) & 1u) && t.dtype() != low)
      t = is_weight(t) ? cast_weight(t, low) : ops::cast(t, low);
  }
  return out;
}

}  // namespace reckon::autograd
