// Mixed precision: inside the scope, matrix products run in the low type and norms, softmax and losses in f32,
// by visible cast ops. Parameters stay f32. A cast of a weight is shared while somebody still holds it; the
// cache itself keeps nothing alive.
#pragma once

#include <span>
#include <vector>

#include "ops/op.h"

namespace reckon::autograd {

struct AutocastState {
  bool enabled = false;
  DType low = DType::bf16;
};
AutocastState& autocast_state();

class AutocastScope {
 public:
  // f32 or f64: no casting; bf16 or f16: the low type.
  explicit AutocastScope(DType type);
  explicit AutocastScope(AutocastState state) : before_(autocast_state()) { autocast_state() = state; }
  ~AutocastScope() { autocast_state() = before_; }
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  AutocastState before_;
};

std::vector<Tensor> autocast_inputs(const ops::OpDef& op, std::span<const Tensor> inputs);

}  // namespace reckon::autograd
