#include "autograd/node.h"

#include <algorithm>
#include <atomic>

#include "autograd/hook.h"
#include "autograd/segment_trace.h"

namespace reckon::autograd {
namespace {

// Drops the last handle of a node and all that hangs below it one after the other: one inside the other would
// need as much stack as the graph is deep.
void drop(std::shared_ptr<Node> node) {
  thread_local std::vector<std::shared_ptr<Node>>* pending = nullptr;
  if (!node) return;
  if (pending) {
    pending->push_back(std::move(node));
    return;
  }
  std::vector<std::shared_ptr<Node>> mine;
  pending = &mine;
  node.reset();
  std::reverse(mine.begin(), mine.end());  // the first input first
  while (!mine.empty()) {
    std::shared_ptr<Node> last = std::move(mine.back());
    mine.pop_back();
    const auto below = static_cast<std::ptrdiff_t>(mine.size());
    last.reset();
    std::reverse(mine.begin() + below, mine.end());
  }
  pending = nullptr;
}

}  // namespace

AutogradMeta::~AutogradMeta() { drop(std::move(node)); }

AutogradMeta* autograd_meta(const Tensor& t) { return static_cast<AutogradMeta*>(t.grad_meta().get()); }

void set_requires_grad(Tensor& t, bool on) {
  install_hook();
  RECKON_CHECK(!on || is_compute_type(t.dtype()),
               "only f32, bf16, f16 and f64 tensors collect gradients, got {}", describe(t));
  auto meta = std::make_shared<AutogradMeta>();
  meta->requires_grad = on;
  meta->grad_dtype = t.dtype();
  t.set_grad_meta(meta);
}

Tensor grad_of(const Tensor& leaf) {
  const AutogradMeta* meta = autograd_meta(leaf);
  if (!meta) return {};
  RECKON_CHECK(!meta->partial,
               "the gradient of {} holds a part of a backward that raised: clear it and start the sum anew",
               describe(leaf));
  return meta->grad;
}

void clear_grad(const Tensor& leaf) {
  AutogradMeta* meta = autograd_meta(leaf);
  if (!meta) return;
  meta->grad = {};
  meta->partial = false;
}

void add_grad_hook(const Tensor& t, GradHook hook) {
  AutogradMeta* meta = autograd_meta(t);
  RECKON_CHECK(meta && meta->requires_grad, "a gradient hook needs a tensor that requires a gradient, got {}",
               describe(t));
  if (is_traced(*meta)) return;  // the second run of the segment hangs it where gradients will pass
  if (!meta->hooks) meta->hooks = std::make_shared<GradHooks>();
  meta->hooks->list.push_back(std::move(hook));
}

void OpNode::check() const {
  RECKON_CHECK(
      !released_,
      "backward through '{}' in module '{}' a second time: what it kept was freed by the first backward",
      op_.name, name_of(module));
  for (const SavedTensor& s : saved_) s.check();
}

TensorList OpNode::run(std::vector<Tensor>& grads) {
  std::vector<Tensor> saved;
  saved.reserve(saved_.size());
  for (const SavedTensor& s : saved_) saved.push_back(s.unpack());
  std::vector<Shape> shapes;
  std::vector<DType> dtypes;
  for (const Edge& e : edges) {
    shapes.push_back(e.shape);
    dtypes.push_back(e.dtype);
  }
  ops::BackwardContext ctx{saved, grads, attrs_.get(), shapes, dtypes, needs_};
  TensorList result = op_.backward(ctx);
  RECKON_CHECK(result.size() <= edges.size(), "backward of '{}' gave {} gradients for {} inputs", op_.name,
               result.size(), edges.size());
  result.resize(edges.size());
  return result;
}

int64_t next_sequence() {
  static std::atomic<int64_t> n{0};
  return n.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace reckon::autograd
