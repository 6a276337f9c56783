#include "autograd/hook.h"

#include "autograd/autocast.h"
#include "autograd/grad_mode.h"
#include "autograd/node.h"
#include "autograd/segment_trace.h"
#include "ops/cast/cast.h"
#include "ops/op.h"
#include "runtime/events/scope.h"

namespace reckon::autograd {
namespace {

thread_local uint64_t trace = 0;

void extend_trace(const ops::OpDef& op, const TensorList& outputs) {
  // Casts are left out: whether a weight's cast is shared with another segment depends on who still holds it.
  if (&op == &ops::cast_definition() || &op == &ops::cast_all_definition()) return;
  const auto mix = [](uint64_t v) { trace = (trace ^ v) * 0x100000001b3ull; };
  mix(reinterpret_cast<uintptr_t>(&op));
  // Only the first output: fused ops make the others (what backward keeps) when a gradient will be needed.
  for (int64_t e : outputs[0].shape()) mix(static_cast<uint64_t>(e));
}

uint32_t gradient_mask(const ops::OpDef& op, std::span<const Tensor> inputs) {
  if (!grad_state().enabled || op.gradient != ops::Gradient::differentiable) return 0;
  uint32_t mask = 0;
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].defined() && inputs[i].requires_grad()) {
      RECKON_CHECK(i < 32, "op '{}' differentiates at most 32 inputs, got {}", op.name, inputs.size());
      mask |= 1u << i;
    }
  return mask;
}

TensorList record(const ops::OpDef& op, std::span<const Tensor> inputs, const ops::AttrsPtr& attrs) {
  SegmentTrace::note_reads(inputs);
  const uint32_t needs = gradient_mask(op, inputs);
  ops::Plan plan;
  TensorList outputs =
      ops::dispatch(op, inputs, attrs, SegmentTrace::active() ? 0 : needs, needs ? &plan : nullptr);
  extend_trace(op, outputs);
  if (needs) attach_node(op, inputs, attrs, needs, plan, outputs);
  return outputs;
}

TensorList hooked_call(const ops::OpDef& op, std::span<const Tensor> inputs, const ops::AttrsPtr& attrs) {
  if (!autocast_state().enabled || op.precision == ops::Precision::follow) return record(op, inputs, attrs);
  const std::vector<Tensor> cast_inputs = autocast_inputs(op, inputs);
  return record(op, cast_inputs, attrs);
}

}  // namespace

void attach_node(const ops::OpDef& op, std::span<const Tensor> inputs, const ops::AttrsPtr& attrs,
                 uint32_t needs, const ops::Plan& plan, TensorList& outputs) {
  const auto carries_gradient = [&](size_t i) {
    return plan.outputs[i].differentiable && is_compute_type(outputs[i].dtype());
  };
  if (SegmentTrace::active()) {
    for (size_t i = 0; i < outputs.size(); ++i)
      if (carries_gradient(i)) mark_traced(outputs[i]);
    return;
  }
  const bool selective = grad_state().policy == CheckpointPolicy::selective;
  auto node = std::make_shared<OpNode>(op, attrs, needs);
  node->module = context().module;
  node->name = intern(op.name);
  node->sequence = next_sequence();
  node->edges.reserve(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    Edge edge;
    if (inputs[i].defined()) {
      edge.shape = inputs[i].shape();
      edge.dtype = inputs[i].dtype();
      if ((needs >> i) & 1u) edge.target = std::static_pointer_cast<AutogradMeta>(inputs[i].grad_meta());
    }
    node->edges.push_back(std::move(edge));
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!carries_gradient(i)) continue;
    auto meta = std::make_shared<AutogradMeta>();
    meta->requires_grad = true;
    meta->node = node;
    meta->output = static_cast<int>(i);
    const int source = plan.outputs[i].alias_of;
    const AutogradMeta* viewed =
        source >= 0 && !plan.outputs[i].writes ? autograd_meta(inputs[static_cast<size_t>(source)]) : nullptr;
    meta->grad_dtype = viewed ? viewed->grad_dtype : outputs[i].dtype();
    if (selective)
      meta->recipe = make_recipe(op, inputs, attrs, plan.outputs[i], outputs[i], static_cast<int>(i));
    outputs[i].set_grad_meta(meta);
  }
  for (const ops::SaveRef& ref : plan.saves) {
    const Tensor& t =
        ref.output ? outputs[static_cast<size_t>(ref.index)] : inputs[static_cast<size_t>(ref.index)];
    node->save(t, selective);
  }
  node->output_grads.resize(outputs.size());
}

void install_hook() {
  if (!ops::call_hook()) ops::set_call_hook(hooked_call);
}

uint64_t trace_hash() { return trace; }
void set_trace_hash(uint64_t h) { trace = h; }

}  // namespace reckon::autograd
