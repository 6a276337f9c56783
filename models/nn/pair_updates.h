// Outer product mean and triangle multiplication. The choice between the fused ops and their compositions is
// made here, for every family.
// Shape letters: B batch, S MSA rows, R residues (or tokens), M = c_m, Z = c_z.
#pragma once

#include <optional>

#include "models/nn/layers.h"

namespace reckon::models {

// What the sum over rows is divided by: nothing (bioformer), eps + count after the projection and its bias
// (AlphaFold 2), or max(count, 1) before the projection (Boltz, AlphaFold 3).
enum class OuterDivision : uint8_t { none, after_projection, before_projection };

// out(sum over rows of a_i b_j), a and b [B, S, R, c] masked already; the mask counts rows. The composition
// drops a and b once they are used.
Tensor outer_product(Tensor&& a, Tensor&& b, const Tensor& msa_mask_BSR, const Linear& out,
                     OuterDivision division, double eps = 1e-3);

struct OuterProductMean {
  NameId name{};
  double eps = 1e-3;
  LayerNorm layer_norm;
  Linear linear_1, linear_2, linear_out;

  OuterProductMean() = default;
  OuterProductMean(Builder& b, std::string_view name, int64_t c_m, int64_t c_hidden, int64_t c_z,
                   bool input_biases = true);
  Tensor operator()(const Tensor& m_BSRM, const Tensor& msa_mask_BSR,
                    OuterDivision division = OuterDivision::after_projection) const;
};

// Sizes and form of a triangle multiplication.
struct TriangleMultiplicationConfig {
  int64_t c_z = 0, c_hidden = 0;
  bool biases = true;
  bool fused_projections = false;  // a and b in one weight
};

struct TriangleMultiplication {
  NameId name{};
  bool outgoing = true;
  LayerNorm layer_norm_in, layer_norm_out;
  Linear linear_a_p, linear_a_g, linear_b_p, linear_b_g, linear_z, linear_g;
  // Instead of the four, when weights are fused; a is the first half.
  std::optional<Linear> linear_ab_p, linear_ab_g;

  TriangleMultiplication() = default;
  TriangleMultiplication(Builder& b, std::string_view name, const TriangleMultiplicationConfig& c,
                         bool outgoing);
  Tensor operator()(const Tensor& z_BRRZ, const Tensor& pair_mask_BRR) const;

 private:
  Tensor eager(const Tensor& z_BRRZ, const Tensor& pair_mask_BRR) const;
  Tensor fused(const Tensor& z_BRRZ, const Tensor& pair_mask_BRR) const;
};

// The same without biases and mask from one weight for all of left and right: rows of `left_right` are left,
// right, and their gates.
Tensor triangle_multiply_merged(const Tensor& z, const LayerNorm& norm, const Linear& left_right,
                                const Linear& out_gate, const LayerNorm& out_norm, const Linear& to_out,
                                bool outgoing);

}  // namespace reckon::models
