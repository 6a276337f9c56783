// Mixed precision: inside the scope, matrix products run in the low type and norms, softmax and losses in f32,
// by visible cast ops. Parameters stay f32, and so do their gradients. A cast of a weight is shared while
// somebody still holds it; the cache itself keeps nothing alive.
#pragma once

#include <span>
#include <vector>

#include "ops/op.h"

namespace reckon::autograd {

struct AutocastState {
  bool enabled = false;
  DType low = DType::bf16;
  bool low_residual = false;  // residual streams too
};
AutocastState& autocast_state();

class AutocastScope {
 public:
  // f32 or f64: no casting; bf16 or f16: the low type.
  explicit AutocastScope(DType type, bool low_residual = false);
  explicit AutocastScope(AutocastState state) : before_(autocast_state()) { autocast_state() = state; }
  ~AutocastScope() { autocast_state() = before_; }
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  AutocastState before_;
};

// The stream that a model's residual branches are added to, where it begins: in the low type when the scope
// asks for it, else as it is. Branches keep a stream's type (add_to_residual).
Tensor residual_stream(const Tensor& x);
// A branch in the type of its stream x, and their sum.
Tensor in_stream_type(const Tensor& x, const Tensor& branch);
Tensor add_to_residual(const Tensor& x, const Tensor& branch);

// Casts the weights of the matrix products of a block in one launch and holds them while the block runs;
// without it each op casts its own. Weights of other types, and those whose cast is held already, are left out.
class WeightCasts {
 public:
  explicit WeightCasts(std::span<const Tensor> weights);

 private:
  std::vector<Tensor> held_;
};

// A weight as matrix products take it, to be sliced before it is handed to an op.
Tensor in_product_type(const Tensor& weight);

std::vector<Tensor> autocast_inputs(const ops::OpDef& op, std::span<const Tensor> inputs);

}  // namespace reckon::autograd
