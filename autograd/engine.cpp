#include "autograd/engine.h"

#include <queue>

#include "autograd/grad_mode.h"
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
using Queue = std::priority_queue<std::shared_ptr<Node>, std::vector<std::shared_ptr<Node>>, Later>;

thread_local Queue* current_queue = nullptr;

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

void add_to_leaf(AutogradMeta& leaf, Tensor grad) {
  if (leaf.grad.defined()) {
    Tensor held = std::move(leaf.grad);
    add_into(held, std::move(grad));
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

void run_queue(Queue& queue) {
  NoGrad no_grad;
  while (!queue.empty()) {
    std::shared_ptr<Node> node = queue.top();
    queue.pop();
    node->queued = false;
    Scope scope;
    context().module = node->module;
    context().phase = Phase::backward;
    std::vector<Tensor> grads = std::move(node->output_grads);
    node->output_grads.assign(grads.size(), Tensor{});
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
}

}  // namespace

void deliver(const std::shared_ptr<AutogradMeta>& target, Tensor grad) {
  for (const GradHook& hook : target->hooks)
    if (Tensor replaced = hook(grad); replaced.defined()) grad = replaced;
  if (!target->node) {
    add_to_leaf(*target, std::move(grad));
    return;
  }
  Node& node = *target->node;
  if (node.output_grads.size() <= static_cast<size_t>(target->output))
    node.output_grads.resize(static_cast<size_t>(target->output) + 1);
  add_into(node.output_grads[static_cast<size_t>(target->output)], std::move(grad));
  if (!node.queued) {
    node.queued = true;
    current_queue->push(target->node);
  }
}

void backward(std::span<const Tensor> roots, std::span<const Tensor> seeds) {
  RECKON_CHECK(roots.size() == seeds.size(), "backward got {} roots and {} seeds", roots.size(), seeds.size());
  RECKON_CHECK(!current_queue, "backward was called from inside backward (a gradient hook?)");
  Queue queue;
  struct Guard {
    ~Guard() { current_queue = nullptr; }
  } guard;
  current_queue = &queue;
  PhaseScope phase(Phase::backward);
  NoGrad no_grad;
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
    deliver(std::static_pointer_cast<AutogradMeta>(roots[i].grad_meta()), std::move(seed));
  }
  run_queue(queue);
}

void backward(const Tensor& root, const Tensor& seed) {
  backward(std::span<const Tensor>(&root, 1), std::span<const Tensor>(&seed, 1));
}

}  // namespace reckon::autograd
