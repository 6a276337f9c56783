#include "autograd/checkpoint.h"

#include "autograd/autocast.h"
#include "autograd/engine.h"
#include "autograd/fusion.h"
#include "autograd/hook.h"
#include "autograd/node.h"
#include "runtime/events/scope.h"

namespace reckon::autograd {
namespace {

class SegmentNode : public Node {
 public:
  explicit SegmentNode(SegmentFn f) : f_(std::move(f)) {}

  void keep(const TensorList& inputs) {
    for (const Tensor& t : inputs) {
      saved_.emplace_back(t, /*allow_recipe=*/false);
      metas_.push_back(t.grad_meta());
    }
  }
  void set_trace(uint64_t h) { trace_ = h; }

  // Runs the segment again on its kept inputs, with the metadata they had: the rebuilt nodes hang directly
  // below the graph that was there, and the engine runs them in the order it would have without checkpointing.
  TensorList run(std::vector<Tensor>& grads) override {
    RECKON_CHECK(f_,
                 "backward through the checkpointed segment '{}' a second time: what it kept was freed by the "
                 "first backward",
                 name_of(module));
    TensorList outputs;
    const uint64_t outer_trace = trace_hash();
    {
      TensorList inputs;
      for (size_t i = 0; i < saved_.size(); ++i) {
        inputs.push_back(saved_[i].unpack());
        inputs.back().set_grad_meta(metas_[i]);
      }
      PhaseScope phase(Phase::recompute);
      EnableGrad enable;
      CheckpointScope inner(CheckpointPolicy::none);
      AutocastScope precision(autocast_);
      FusionScope fusions(fusions_);
      const Generator later = grad_state().generator;
      grad_state().generator = generator_;
      set_trace_hash(0);
      outputs = f_(inputs);
      grad_state().generator = later;
    }
    RECKON_CHECK(trace_hash() == trace_,
                 "the checkpointed segment '{}' ran other ops the second time: it must not depend on values or "
                 "on state that changes",
                 name_of(module));
    set_trace_hash(outer_trace);
    release();
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!grads[i].defined() || !outputs[i].requires_grad()) continue;
      auto meta = std::static_pointer_cast<AutogradMeta>(outputs[i].grad_meta());
      outputs[i] = {};
      deliver(meta, std::move(grads[i]));
    }
    return {};
  }

  void release() override {
    saved_.clear();
    metas_.clear();
    f_ = nullptr;
  }

 private:
  SegmentFn f_;
  // What held when the segment began.
  Generator generator_ = grad_state().generator;
  AutocastState autocast_ = autocast_state();
  FusionSet fusions_ = fusion_state();
  std::vector<SavedTensor> saved_;
  std::vector<std::shared_ptr<GradMeta>> metas_;
  uint64_t trace_ = 0;
};

bool applies(Boundary boundary) {
  const GradState& s = grad_state();
  if (!s.enabled) return false;
  return boundary == Boundary::block ? s.policy == CheckpointPolicy::block
                                     : s.policy == CheckpointPolicy::sublayer;
}

}  // namespace

TensorList segment(Boundary boundary, const SegmentFn& f, TensorList inputs) {
  if (!applies(boundary)) return f(inputs);
  install_hook();
  auto node = std::make_shared<SegmentNode>(f);
  node->module = context().module;
  node->name = intern("checkpoint");
  const uint64_t outer_trace = trace_hash();
  set_trace_hash(0);
  TensorList outputs;
  {
    NoGrad no_grad;
    outputs = f(inputs);
  }
  node->set_trace(trace_hash());
  set_trace_hash(outer_trace);
  node->sequence = next_sequence();
  node->keep(inputs);
  node->output_grads.resize(outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!is_compute_type(outputs[i].dtype())) continue;
    auto meta = std::make_shared<AutogradMeta>();
    meta->requires_grad = true;
    meta->node = node;
    meta->output = static_cast<int>(i);
    meta->grad_dtype = outputs[i].dtype();
    outputs[i] = outputs[i].detached();
    outputs[i].set_grad_meta(meta);
  }
  return outputs;
}

}  // namespace reckon::autograd
