// The small modules everything is built from. Each opens its own module scope, so the ledger names it.
#pragma once

#include <optional>

#include "models/nn/parameters.h"

namespace reckon::models {

// A low-rank update beside a frozen weight: y += scaling * (x A^T) B^T.
struct LoraAdapter {
  Tensor a;  // [rank, in]
  Tensor b;  // [out, rank], starts at 0
  double scaling = 1;
};

struct Linear {
  NameId name{};
  Tensor weight;  // [out, in]
  Tensor bias;    // [out] or undefined
  std::optional<LoraAdapter> lora;

  Linear() = default;
  Linear(Builder& b, std::string_view name, int64_t in, int64_t out, bool with_bias, Init init,
         double bias_value = 0.0);
  Tensor operator()(const Tensor& x) const;
  int64_t out() const { return weight.size(0); }
  // Adds an adapter under the current module path; A is Kaiming-uniform with slope sqrt(5),
  // which is +-1/sqrt(in), B zero.
  void add_lora(Builder& b, int64_t rank, double alpha);
};

struct LayerNorm {
  // What is learned besides the statistics.
  enum class Affine : uint8_t { nothing, weight, weight_and_bias };

  NameId name{};
  Tensor weight, bias;  // [c] or undefined
  double eps = 1e-5;

  LayerNorm() = default;
  LayerNorm(Builder& b, std::string_view name, int64_t c, Affine affine = Affine::weight_and_bias);
  Tensor operator()(const Tensor& x) const;
};

struct RmsNorm {
  NameId name{};
  Tensor weight;  // [c]
  double eps = 1e-6;

  RmsNorm() = default;
  RmsNorm(Builder& b, std::string_view name, int64_t c, double eps);
  Tensor operator()(const Tensor& x) const;
};

// Several projections of one normalised input: one norm and a linear each, or (fused)
// one op that rebuilds the norm.
TensorList project(const LayerNorm& norm, const Tensor& x, const std::vector<const Linear*>& linears);
TensorList project(const RmsNorm& norm, const Tensor& x, const std::vector<const Linear*>& linears);

// Mean cross entropy of rows [n, c] through an output projection [classes, c] without bias: one op when
// fused, which holds no logits.
Tensor head_cross_entropy(const Tensor& rows, const Tensor& weight, const Tensor& targets);

}  // namespace reckon::models
