// Evoformer block, stack and the masked-MSA model around it (AlphaFold 2, supplement 1.6 and 1.9.9).
// Shape letters as in modules.h.
#pragma once

#include <memory>

#include "models/evoformer/modules.h"
#include "models/nn/block.h"
#include "models/nn/dropout.h"
#include "models/nn/feed_forward.h"
#include "models/nn/pair_updates.h"

namespace reckon::models {

TriangleMultiplicationConfig triangle_multiplication(const PairStackConfig& c);

// The five pair updates with their residual sums; Pairformer blocks share it.
struct PairStack {
  Block block;
  double dropout = 0;
  bool mask_transition = false;
  TriangleMultiplication tri_mul_out, tri_mul_in;
  TriangleAttention tri_att_start, tri_att_end;
  Transition pair_transition;
  std::optional<SwigluTransition> swiglu_transition;  // instead

  PairStack() = default;
  PairStack(Builder& b, std::string_view name, const PairStackConfig& c);
  Tensor operator()(Tensor z_BRRZ, const Tensor& pair_mask_BRR, const DropoutSource& drop) const;
};

struct EvoformerInputs {
  Tensor msa_mask;   // f32 [B, S, R] or undefined
  Tensor pair_mask;  // f32 [B, R, R] or undefined
  DropoutSource drop;
};

struct EvoformerBlock {
  Block block;
  EvoformerConfig config;
  MsaRowAttention msa_att_row;
  MsaColumnAttention msa_att_col;
  Transition msa_transition;
  OuterProductMean outer_product_mean;
  PairStack pair_stack;

  EvoformerBlock(Builder& b, std::string_view name, const EvoformerConfig& c);
  // {m, z} after the block.
  TensorList operator()(const Tensor& m_BSRM, const Tensor& z_BRRZ, const EvoformerInputs& in) const;
};

struct MsaTensors {
  Tensor msa;            // i64 [B, S, R]: residue ids 0..21 and 22 = masked
  Tensor targets;        // i64 [B, S, R]: the true id where masked, else -100
  Tensor deletions;      // f32 [B, S, R, 2]: has deletion, scaled count
  Tensor residue_index;  // i64 [B, R, R]: clipped relative position, 0..64
  Tensor msa_mask;       // f32 [B, S, R]
  Tensor pair_mask;      // f32 [B, R, R]
};

class MaskedMsaModel {
 public:
  static constexpr int64_t kResidues = 23;           // 20 amino acids, unknown, gap, mask
  static constexpr int64_t kRelativePositions = 65;  // offsets clipped to +-32

  MaskedMsaModel(Device& device, const EvoformerConfig& config, uint64_t seed, DType dtype = DType::f32);
  // Mean cross entropy over masked positions; shape [].
  Tensor loss(const MsaTensors& batch, bool training) const;
  const ParameterSet& parameters() const { return parameters_; }
  const EvoformerConfig& config() const { return config_; }

 private:
  EvoformerConfig config_;
  ParameterSet parameters_;
  Tensor msa_embedding_, left_embedding_, right_embedding_, position_embedding_;
  Linear deletion_embedding_;
  std::vector<std::unique_ptr<EvoformerBlock>> blocks_;
  Tensor head_weight_;  // [23, c_m], no bias: the logits' weight can go straight into the fused loss
};

}  // namespace reckon::models
