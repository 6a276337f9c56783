// Feed-forward layers. The choice between the fused ops and their compositions is made here, for every family.
#pragma once

#include "models/nn/layers.h"

namespace reckon::models {

// out(silu(gate n) * (up n)) with n = norm(x). An adapter on one of the three keeps it composed: the fused op
// knows whole weights only.
Tensor swiglu(const Tensor& x, const RmsNorm& norm, const Linear& gate, const Linear& up, const Linear& out);
Tensor swiglu(const Tensor& x, const LayerNorm& norm, const Linear& gate, const Linear& up, const Linear& out);
// The same with up and gate in one weight, up's rows first; without `norm` the input is taken as it is.
Tensor swiglu_merged(const Tensor& x, const LayerNorm* norm, const Linear& up_gate, const Linear& out);

// W2 relu(W1 LN(x) + b1) + b2, times the mask when one is given.
struct Transition {
  NameId name{};
  LayerNorm layer_norm;
  Linear linear_1, linear_2;

  Transition() = default;
  Transition(Builder& b, std::string_view name, int64_t c, int64_t n);
  Tensor operator()(const Tensor& x, const Tensor& mask) const;
};

// W (silu(A x) * (B x)) with x = LN(input), no biases (AlphaFold 3, algorithm 11).
struct SwigluTransition {
  NameId name{};
  LayerNorm layer_norm;
  Linear linear_a, linear_b, linear_out;

  SwigluTransition() = default;
  SwigluTransition(Builder& b, std::string_view name, int64_t c, int64_t n);
  Tensor operator()(const Tensor& x) const;
};

}  // namespace reckon::models
