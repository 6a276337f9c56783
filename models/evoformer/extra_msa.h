// A block of AlphaFold 2's extra-MSA stack: an Evoformer block on many narrow rows, with one global query per
// column instead of column attention. Called by the calculators that look for its tensors.
#pragma once

#include "models/evoformer/evoformer.h"

namespace reckon::models {

// c_m 64 and heads of 8 instead of 256 and 32; everything else as published.
EvoformerConfig extra_msa_config();

struct ExtraMsaBlock {
  Block block;
  EvoformerConfig config;
  MsaRowAttention msa_att_row;
  MsaColumnGlobalAttention msa_att_col;
  Transition msa_transition;
  OuterProductMean outer_product_mean;
  PairStack pair_stack;

  ExtraMsaBlock(Builder& b, std::string_view name, const EvoformerConfig& c);
  // {m, z} after the block; the mask of the alignment must be there (the global query averages over it).
  TensorList operator()(const Tensor& m_BSRM, const Tensor& z_BRRZ, const EvoformerInputs& in) const;
};

}  // namespace reckon::models
