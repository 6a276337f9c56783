#include "autograd/node.h"

#include "autograd/hook.h"

namespace reckon::autograd {

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
  return meta ? meta->grad : Tensor{};
}

void clear_grad(const Tensor& leaf) {
  if (AutogradMeta* meta = autograd_meta(leaf)) meta->grad = {};
}

void add_grad_hook(const Tensor& t, GradHook hook) {
  AutogradMeta* meta = autograd_meta(t);
  RECKON_CHECK(meta && meta->requires_grad, "a gradient hook needs a tensor that requires a gradient, got {}",
               describe(t));
  meta->hooks.push_back(std::move(hook));
}

TensorList OpNode::run(std::vector<Tensor>& grads) {
  RECKON_CHECK(
      !released_,
      "backward through '{}' in module '{}' a second time: what it kept was freed by the first backward",
      op_.name, name_of(module));
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
  thread_local int64_t n = 0;
  return n++;
}

}  // namespace reckon::autograd
