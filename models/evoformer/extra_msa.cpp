#include "models/evoformer/extra_msa.h"

#include "ops/binary/binary.h"

namespace reckon::models {

EvoformerConfig extra_msa_config() {
  EvoformerConfig c;
  c.name = "extra-msa";
  c.c_m = 64;
  c.c_hidden_msa = 8;
  c.blocks = 4;
  return c;
}

ExtraMsaBlock::ExtraMsaBlock(Builder& b, std::string_view n, const EvoformerConfig& c) : config(c) {
  config.validate();
  const BlockBuilding building(block, n, b);
  msa_att_row = MsaRowAttention(b, "msa_att_row", c);
  msa_att_col = MsaColumnGlobalAttention(b, "msa_att_col", c.c_m, c.heads_msa, c.c_hidden_msa, c.mask_value);
  msa_transition = Transition(b, "msa_transition", c.c_m, c.transition_n);
  outer_product_mean = OuterProductMean(b, "outer_product_mean", c.c_m, c.c_hidden_opm, c.c_z);
  pair_stack = PairStack(b, "pair_stack", c.pair_stack());
}

TensorList ExtraMsaBlock::operator()(const Tensor& m0, const Tensor& z0, const EvoformerInputs& in) const {
  const BlockRun run(block);
  const Tensor mask = in.msa_mask;
  const auto row = [this, mask](auto x) { return msa_att_row(x[0], x[1], mask); };
  Tensor m = add_dropped(m0, branch({m0, z0}, row), config.msa_dropout, 1, "msa_att_row", in.drop);
  m = ops::add(m, branch({m}, [this, mask](auto x) { return msa_att_col(x[0], mask); }));
  m = ops::add(m, branch({m}, [this](auto x) { return msa_transition(x[0], {}); }));
  const Tensor z = ops::add(z0, branch({m}, [this, mask](auto x) { return outer_product_mean(x[0], mask); }));
  return {m, pair_stack(z, in.pair_mask, in.drop)};
}

}  // namespace reckon::models
