// What the transitions and their backward ops are asked for. Read by the plans and
// by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

// Positions of inputs; what both transitions have, and what each has.
struct TransitionInput {
  enum : int { x, ln_weight, ln_bias, w_in, w_out = w_in + 2 };
};
struct ReluTransitionInput : TransitionInput {
  enum : int { w1 = w_in, b1, w2 = w_out, b2, n_inputs };
};
struct SwigluTransitionInput : TransitionInput {
  enum : int { w_a = w_in, w_b, w_o = w_out, n_inputs };
};
// Positions of outputs where backward's inputs are kept; the statistics are always the last two.
struct ReluTransitionOutput {
  enum : int { y, hidden, mean, rstd };
};
struct SwigluTransitionOutput {
  enum : int { y, a, b, mean, rstd };
};
struct TransitionBackwardInput {
  enum : int { dout, x, ln_weight, ln_bias, mean, rstd, kept };
};
struct ReluTransitionBackwardInput : TransitionBackwardInput {
  enum : int { hidden = kept, w1, w2 };
};
struct SwigluTransitionBackwardInput : TransitionBackwardInput {
  enum : int { a = kept, b, w_a, w_b, w_o };
};

// The inputs whose gradients go back through the norm, and those of the parameters of the norm alone.
inline constexpr uint32_t kTransitionNormParameters =
    input_bits(TransitionInput::ln_weight, TransitionInput::ln_bias);
inline constexpr uint32_t kTransitionNormInputs = input_bits(TransitionInput::x) | kTransitionNormParameters;
// relu: the inputs whose gradients go back through the hidden layer.
inline constexpr uint32_t kTransitionHiddenInputs =
    kTransitionNormInputs | input_bits(ReluTransitionInput::w1, ReluTransitionInput::b1);

struct TransitionAttrs : Attrs {
  explicit TransitionAttrs(double e, uint32_t n = 0) : eps(e), needs(n) {}
  double eps;
  uint32_t needs;  // backward: the inputs of the forward op whose gradients are wanted
};

}  // namespace reckon::ops
