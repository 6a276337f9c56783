#include "autograd/checkpoint.h"

#include <algorithm>
#include <unordered_map>

#include "autograd/autocast.h"
#include "autograd/engine.h"
#include "autograd/fusion.h"
#include "autograd/hook.h"
#include "autograd/node.h"
#include "autograd/segment_trace.h"
#include "runtime/events/scope.h"

namespace reckon::autograd {
namespace {

// A trace of its own for a segment; the caller's comes back, also after an exception.
class OwnTrace {
 public:
  OwnTrace() : outer_(trace_hash()) { set_trace_hash(0); }
  ~OwnTrace() { set_trace_hash(outer_); }
  OwnTrace(const OwnTrace&) = delete;
  OwnTrace& operator=(const OwnTrace&) = delete;

 private:
  uint64_t outer_;
};

class SegmentNode : public Node {
 public:
  explicit SegmentNode(SegmentFn f) : f_(std::move(f)) {}

  // Runs the segment for the first time, which records nothing; returns its outputs.
  TensorList first_run(const TensorList& inputs) {
    const OwnTrace own;
    GeneratorGuard generator;
    SegmentTrace tracing(reads_);
    TensorList outputs = f_(inputs);
    trace_ = trace_hash();
    generator.keep();
    return outputs;
  }

  // The hooks of an output, which the tensor that is rebuilt for it gets.
  void share_hooks(size_t output, std::shared_ptr<GradHooks> hooks) {
    hooks_.resize(std::max(hooks_.size(), output + 1));
    hooks_[output] = std::move(hooks);
  }
  bool carries_hooks() const override { return true; }

  void keep(const TensorList& inputs) {
    for (const Tensor& t : inputs) {
      saved_.emplace_back(t, /*allow_recipe=*/false);
      metas_.push_back(t.grad_meta());
    }
  }

  void check() const override {
    RECKON_CHECK(f_,
                 "backward through the checkpointed segment '{}' a second time: what it kept was freed by the "
                 "first backward",
                 name_of(module));
    for (const SavedTensor& s : saved_) s.check();
    reads_.check(module);
  }

  // Runs the segment again on its kept inputs, with the metadata they had: the rebuilt nodes hang directly
  // below the graph that was there, and the engine runs them in the order it would have without checkpointing.
  TensorList run(std::vector<Tensor>& grads) override {
    check();
    TensorList outputs = second_run();
    for (size_t i = 0; i < outputs.size() && i < hooks_.size(); ++i)
      if (hooks_[i])
        for (const GradHook& hook : hooks_[i]->list) add_grad_hook(outputs[i], hook);
    release();
    for (size_t i = 0; i < outputs.size() && i < grads.size(); ++i) {
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
    hooks_.clear();
    reads_ = {};
    f_ = nullptr;
  }

 private:
  TensorList second_run() {
    TensorList inputs;
    for (size_t i = 0; i < saved_.size(); ++i) {
      inputs.push_back(saved_[i].unpack());
      inputs.back().set_grad_meta(metas_[i]);
    }
    const PhaseScope phase(Phase::recompute);
    const EnableGrad enable;
    const CheckpointScope inner(CheckpointPolicy::none);
    const AutocastScope precision(autocast_);
    const FusionScope fusions(fusions_);
    const OwnTrace own;
    const GeneratorGuard later;  // backward goes on with the numbers that come after forward's
    grad_state().generator = generator_;
    TensorList outputs = f_(inputs);
    RECKON_CHECK(trace_hash() == trace_,
                 "the checkpointed segment '{}' ran other ops the second time: it must not depend on values or "
                 "on state that changes",
                 name_of(module));
    return outputs;
  }

  SegmentFn f_;
  // What held when the segment began.
  Generator generator_ = grad_state().generator;
  AutocastState autocast_ = autocast_state();
  FusionSet fusions_ = fusion_state();
  OutsideReads reads_;
  std::vector<SavedTensor> saved_;
  std::vector<std::shared_ptr<GradMeta>> metas_;
  std::vector<std::shared_ptr<GradHooks>> hooks_;
  uint64_t trace_ = 0;
};

bool applies(Boundary boundary) {
  const GradState& s = grad_state();
  if (!s.enabled || SegmentTrace::active()) return false;
  return boundary == Boundary::block ? s.policy == CheckpointPolicy::block
                                     : s.policy == CheckpointPolicy::sublayer;
}

// Gives the outputs that the segment made from something with a gradient to the node. Others leave as they came:
// inputs and parameters that were handed through, and what no gradient flows to. False when none is left.
bool hang_outputs(const std::shared_ptr<SegmentNode>& node, TensorList& outputs) {
  std::unordered_map<const GradMeta*, std::shared_ptr<AutogradMeta>> made;  // one that is returned twice is one
  for (size_t i = 0; i < outputs.size(); ++i) {
    const AutogradMeta* traced = autograd_meta(outputs[i]);
    if (!traced || !is_traced(*traced)) continue;
    std::shared_ptr<AutogradMeta>& meta = made[traced];
    if (!meta) {
      meta = std::make_shared<AutogradMeta>();
      meta->requires_grad = true;
      meta->node = node;
      meta->output = static_cast<int>(i);
      meta->grad_dtype = traced->grad_dtype;
      meta->hooks = std::make_shared<GradHooks>();
      node->share_hooks(i, meta->hooks);
    }
    outputs[i].set_grad_meta(meta);
  }
  return !made.empty();
}

}  // namespace

TensorList segment(Boundary boundary, const SegmentFn& f, TensorList inputs) {
  if (!applies(boundary)) return f(inputs);
  install_hook();
  auto node = std::make_shared<SegmentNode>(f);
  node->module = context().module;
  node->name = intern("checkpoint");
  TensorList outputs = node->first_run(inputs);
  node->sequence = next_sequence();
  if (!hang_outputs(node, outputs)) return outputs;
  node->keep(inputs);
  node->output_grads.resize(outputs.size());
  return outputs;
}

}  // namespace reckon::autograd
