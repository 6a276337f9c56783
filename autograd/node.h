// The graph: a node per recorded call, owned by the metadata of its outputs. Nothing owns upward, so a dropped
// branch frees what it kept at once.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "autograd/saved_tensor.h"
#include "ops/op.h"

namespace reckon::autograd {

class Node;

// Sees the whole gradient of a tensor, once per backward, and may give another of the same shape, type and device
// in its place (undefined: keeps it). It must not write to the one it is given.
using GradHook = std::function<Tensor(const Tensor& grad)>;

struct GradHooks {
  std::vector<GradHook> list;
  Tensor arrived;  // of a leaf: the sum so far, in the backward that is running
};

// What a tensor carries. A leaf (parameter) has no node and collects its gradient here.
struct AutogradMeta : GradMeta {
  AutogradMeta() = default;
  ~AutogradMeta() override;
  std::shared_ptr<Node> node;
  int output = 0;
  // The type in which its gradient arrives: its own type, or that of the weight it is a cast of.
  DType grad_dtype = DType::f32;
  bool touched = false;              // the backward that is running added to `grad`
  bool partial = false;              // `grad` holds a part of a backward that raised
  Tensor grad;                       // leaves only
  std::shared_ptr<GradHooks> hooks;  // null: none; of a segment's output also the segment's
  std::shared_ptr<Recipe> recipe;
};

AutogradMeta* autograd_meta(const Tensor& t);  // null when it has none

// Makes `t` a leaf that collects its gradient, and makes this thread record calls.
void set_requires_grad(Tensor& t, bool on = true);
// Undefined before the first backward. Error when a backward raised after it had added to a gradient that was
// there: the sum is then neither the old nor the new one, until clear_grad.
Tensor grad_of(const Tensor& leaf);
void clear_grad(const Tensor& leaf);
void add_grad_hook(const Tensor& t, GradHook hook);

// Where the gradient of one input goes.
struct Edge {
  std::shared_ptr<AutogradMeta> target;  // a leaf, or the metadata of an intermediate tensor; null: nowhere
  Shape shape;
  DType dtype = DType::f32;  // of the input
};

class Node {
 public:
  virtual ~Node() = default;
  // Gradients of the inputs from `output_grads` (moved from); undefined where nothing flows.
  virtual TensorList run(std::vector<Tensor>& output_grads) = 0;
  virtual void check() const = 0;  // Error when run() is bound to fail: spent, or what it kept was overwritten
  virtual void release() = 0;      // drops what was kept
  // Whether run() sees to the hooks of its outputs itself: they then see what arrives inside as well.
  virtual bool carries_hooks() const { return false; }

  std::vector<Edge> edges;
  std::vector<Tensor> output_grads;  // collected so far
  NameId module{};
  NameId name{};
  int64_t sequence = 0;  // later calls have larger numbers
  bool queued = false;
  uint64_t checked_by = 0;  // the backward that looked at it last
  // Outputs with gradient hooks that a gradient has reached; empty outside a backward.
  std::vector<std::shared_ptr<AutogradMeta>> hooked;
};

// The node of one op call.
class OpNode : public Node {
 public:
  OpNode(const ops::OpDef& op, ops::AttrsPtr attrs, uint32_t needs)
      : op_(op), attrs_(std::move(attrs)), needs_(needs) {}
  void save(const Tensor& t, bool allow_recipe) { saved_.emplace_back(t, allow_recipe); }
  TensorList run(std::vector<Tensor>& output_grads) override;
  void check() const override;
  void release() override {
    saved_.clear();
    released_ = true;
  }

 private:
  const ops::OpDef& op_;
  ops::AttrsPtr attrs_;
  uint32_t needs_;
  std::vector<SavedTensor> saved_;
  bool released_ = false;
};

int64_t next_sequence();  // of the process: a graph may be built by several threads, one after the other

}  // namespace reckon::autograd
