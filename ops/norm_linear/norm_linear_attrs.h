// What norm_linear and its backward op are asked for. Read by the plans and by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"
#include "ops/kernel/plan/norm_kind.h"

namespace reckon::ops {

// Positions of inputs: of each linear its weight and bias, in backward its weight
// and the gradient of its output.
struct NormLinearInput {
  enum : int { x, norm_weight, norm_bias, first_linear };
  RECKON_INLINE static constexpr int weight(int linear) { return first_linear + 2 * linear; }
  RECKON_INLINE static constexpr int bias(int linear) { return weight(linear) + 1; }
  RECKON_INLINE static constexpr int n_linears(size_t n_inputs) {
    return static_cast<int>(n_inputs - first_linear) / 2;
  }
};
struct NormLinearBackwardInput {
  enum : int { x, norm_weight, norm_bias, mean, rstd, first_linear };
  RECKON_INLINE static constexpr int weight(int linear) { return first_linear + 2 * linear; }
  RECKON_INLINE static constexpr int dout(int linear) { return weight(linear) + 1; }
  RECKON_INLINE static constexpr int n_linears(size_t n_inputs) {
    return static_cast<int>(n_inputs - first_linear) / 2;
  }
};

inline constexpr int kMaxNormLinears = 14;  // 3 + 2 * 14 inputs still fit the gradient mask

// The inputs whose gradients go back through the norm.
inline constexpr uint32_t kNormLinearNormInputs =
    input_bits(NormLinearInput::x, NormLinearInput::norm_weight, NormLinearInput::norm_bias);

struct NormLinearAttrs : Attrs {
  NormLinearAttrs(NormKind k, double e, uint32_t n = 0) : kind(k), eps(e), needs(n) {}
  NormKind kind;
  double eps;
  uint32_t needs;  // backward: the inputs of the forward op whose gradients are wanted
};

}  // namespace reckon::ops
