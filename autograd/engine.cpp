#include "autograd/engine.h"

#include <algorithm>
#include <atomic>
#include <queue>

#include "autograd/grad_mode.h"
#include "autograd/segment_trace.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/fill/fill.h"
#include "runtime/events/scope.h"

namespace reckon::autograd {
namespace {

struct Later {
  bool operator()(const std::shared_ptr<Node>& a, const std::shared_ptr<Node>& b) const {
    return a->sequence < b->sequence;
  }
};

bool sole_owner(const Tensor& t) {
  return t.storage().use_count() == 1 && t.contiguous() && t.storage()->bytes() == t.bytes();
}

// Adds in place when nobody else can see the sum so far; the values are the same either way.
void add_into(Tensor& sum, Tensor&& grad) {
  if (!sum.defined()) {
    sum = std::move(grad);
  } else if (sole_owner(sum)) {
    ops::accumulate(sum, grad);
  } else {
    sum = ops::add(sum, grad);
  }
}

bool has_hooks(const AutogradMeta& meta) { return meta.hooks && !meta.hooks->list.empty(); }

Tensor run_hooks(const AutogradMeta& meta, Tensor grad) {
  const std::vector<GradHook> hooks = meta.hooks->list;  // a hook may hang up another, for the next time
  for (const GradHook& hook : hooks) {
    const uint32_t version = grad.storage()->version();
    const Tensor replaced = hook(grad);
    RECKON_CHECK(
        grad.storage()->version() == version,
        "a gradient hook wrote to the gradient it was given ({}), which others may share: return a new "
        "tensor instead",
        describe(grad));
    if (!replaced.defined()) continue;
    RECKON_CHECK(
        replaced.shape() == grad.shape() && replaced.dtype() == grad.dtype() &&
            &replaced.device() == &grad.device(),
        "a gradient hook must return a gradient of the shape, type and device it was given, {}, got {}",
        describe(grad), describe(replaced));
    grad = replaced.detached();
  }
  return grad;
}

// One backward: what is waiting, and what has to be undone when something raises.
class Run {
 public:
  void check(std::span<const Tensor> roots);
  void deliver(const std::shared_ptr<AutogradMeta>& target, Tensor grad);
  void finish();
  void undo() noexcept;

 private:
  struct Touched {
    std::shared_ptr<AutogradMeta> leaf;
    bool had_gradient;
  };
  void run_next();
  void add_to_leaf(const std::shared_ptr<AutogradMeta>& leaf, Tensor grad);
  void forget_marks() noexcept;

  std::priority_queue<std::shared_ptr<Node>, std::vector<std::shared_ptr<Node>>, Later> queue_;
  std::vector<Touched> touched_;
  std::vector<std::shared_ptr<AutogradMeta>> waiting_for_hooks_;  // leaves, in the order they were reached
};

thread_local Run* current = nullptr;

// What is bound to fail is found before anything is run, so that it changes nothing.
void Run::check(std::span<const Tensor> roots) {
  static std::atomic<uint64_t> runs{0};
  const uint64_t self = ++runs;
  std::vector<Node*> open;
  const auto visit = [&](const AutogradMeta* meta) {
    if (!meta || !meta->node || meta->node->checked_by == self) return;
    meta->node->checked_by = self;
    open.push_back(meta->node.get());
  };
  const Scope scope;
  for (const Tensor& root : roots) visit(autograd_meta(root));
  while (!open.empty()) {
    const Node* node = open.back();
    open.pop_back();
    context().module = node->module;
    node->check();
    for (const Edge& edge : node->edges) visit(edge.target.get());
  }
}

void Run::add_to_leaf(const std::shared_ptr<AutogradMeta>& target, Tensor grad) {
  AutogradMeta& leaf = *target;
  if (!leaf.touched) {
    touched_.push_back({target, leaf.grad.defined()});
    leaf.touched = true;
  }
  if (leaf.grad.defined()) {
    // Moved out for a moment: a second handle would force a new buffer.
    Tensor held = std::move(leaf.grad);
    leaf.grad = {};
    try {
      add_into(held, std::move(grad));
    } catch (...) {
      leaf.grad = std::move(held);
      throw;
    }
    leaf.grad = std::move(held);
  } else {
    // A gradient that something else still holds, or a broadcast view, must become a buffer of its own.
    if (!sole_owner(grad)) {
      grad = ops::copy(grad);
    }
    leaf.grad = std::move(grad);
  }
  if (leaf.grad.storage()->category() != Category::gradient)
    leaf.grad.storage()->set_category(Category::gradient);
}

void Run::deliver(const std::shared_ptr<AutogradMeta>& target, Tensor grad) {
  if (!target->node) {
    if (!has_hooks(*target)) {
      add_to_leaf(target, std::move(grad));
      return;
    }
    if (!target->hooks->arrived.defined()) waiting_for_hooks_.push_back(target);
    add_into(target->hooks->arrived, std::move(grad));
    return;
  }
  Node& node = *target->node;
  if (node.output_grads.size() <= static_cast<size_t>(target->output))
    node.output_grads.resize(static_cast<size_t>(target->output) + 1);
  if (!node.queued) {
    node.queued = true;
    queue_.push(target->node);
  }
  if (has_hooks(*target) && !node.carries_hooks() &&
      std::find(node.hooked.begin(), node.hooked.end(), target) == node.hooked.end())
    node.hooked.push_back(target);
  add_into(node.output_grads[static_cast<size_t>(target->output)], std::move(grad));
}

void Run::run_next() {
  const std::shared_ptr<Node> node = queue_.top();
  Scope scope;
  context().module = node->module;
  context().phase = Phase::backward;
  std::vector<Tensor> grads = std::move(node->output_grads);
  node->output_grads.assign(grads.size(), Tensor{});
  for (const std::shared_ptr<AutogradMeta>& meta : node->hooked) {
    Tensor& grad = grads[static_cast<size_t>(meta->output)];
    grad = run_hooks(*meta, std::move(grad));
  }
  node->hooked.clear();
  queue_.pop();  // only now, so that undo() finds it when a hook raises
  node->queued = false;
  TensorList inputs = node->run(grads);
  grads.clear();
  node->release();
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Edge& edge = node->edges[i];
    if (!edge.target || !inputs[i].defined()) continue;
    RECKON_CHECK(inputs[i].shape() == edge.shape,
                 "backward of '{}' in '{}' gave a gradient {} for an input of shape {}", name_of(node->name),
                 name_of(node->module), describe(inputs[i]), to_string(edge.shape));
    Tensor grad = std::move(inputs[i]);
    if (grad.dtype() != edge.target->grad_dtype) grad = ops::cast(grad, edge.target->grad_dtype);
    deliver(edge.target, std::move(grad));
  }
}

void Run::finish() {
  while (!queue_.empty()) run_next();
  for (const std::shared_ptr<AutogradMeta>& leaf : waiting_for_hooks_) {
    Tensor grad = std::move(leaf->hooks->arrived);
    leaf->hooks->arrived = {};
    add_to_leaf(leaf, run_hooks(*leaf, std::move(grad)));
  }
  forget_marks();
}

void Run::forget_marks() noexcept {
  for (const Touched& t : touched_) t.leaf->touched = false;
  touched_.clear();
  waiting_for_hooks_.clear();
}

// Nodes that have run are spent; all else is as if this backward had not begun.
void Run::undo() noexcept {
  for (; !queue_.empty(); queue_.pop()) {
    Node& node = *queue_.top();
    node.queued = false;
    node.hooked.clear();
    std::fill(node.output_grads.begin(), node.output_grads.end(), Tensor{});
  }
  for (const std::shared_ptr<AutogradMeta>& leaf : waiting_for_hooks_) leaf->hooks->arrived = {};
  for (const Touched& t : touched_) {
    if (t.had_gradient)
      t.leaf->partial = true;
    else
      t.leaf->grad = {};
  }
  forget_marks();
}

void start(Run& run, std::span<const Tensor> roots, std::span<const Tensor> seeds) {
  for (size_t i = 0; i < roots.size(); ++i) {
    RECKON_CHECK(roots[i].requires_grad(), "backward from {}: no leaf that collects a gradient is below it",
                 describe(roots[i]));
    Tensor seed = seeds[i];
    if (!seed.defined()) {
      RECKON_CHECK(roots[i].numel() == 1,
                   "backward from {} needs a seed: only a single number has a gradient of 1",
                   describe(roots[i]));
      seed = ops::full(roots[i].device(), roots[i].shape(), roots[i].dtype(), 1.0, Category::transient, "seed");
    }
    RECKON_CHECK(seed.shape() == roots[i].shape() && seed.dtype() == roots[i].dtype(),
                 "the seed {} does not match the root {}", describe(seed), describe(roots[i]));
    run.deliver(std::static_pointer_cast<AutogradMeta>(roots[i].grad_meta()), seed.detached());
  }
}

}  // namespace

void deliver(const std::shared_ptr<AutogradMeta>& target, Tensor grad) {
  RECKON_ASSERT(current);
  current->deliver(target, std::move(grad));
}

void backward(std::span<const Tensor> roots, std::span<const Tensor> seeds) {
  RECKON_CHECK(roots.size() == seeds.size(), "backward got {} roots and {} seeds", roots.size(), seeds.size());
  RECKON_CHECK(!current, "backward was called from inside backward (a gradient hook?)");
  RECKON_CHECK(!SegmentTrace::active(), "backward was called inside a checkpointed segment");
  Run run;
  struct Guard {
    ~Guard() { current = nullptr; }
  } guard;
  current = &run;
  PhaseScope phase(Phase::backward);
  NoGrad no_grad;
  GeneratorGuard generator;
  run.check(roots);
  try {
    start(run, roots, seeds);
    run.finish();
    generator.keep();
  } catch (...) {
    run.undo();
    throw;
  }
}

void backward(const Tensor& root, const Tensor& seed) {
  backward(std::span<const Tensor>(&root, 1), std::span<const Tensor>(&seed, 1));
}

}  // namespace reckon::autograd
