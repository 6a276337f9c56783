#include "models/evoformer/extra_msa.h"

#include "autograd/autocast.h"
#include "autograd/checkpoint.h"
#include "ops/binary/binary.h"
#include "runtime/events/scope.h"

namespace reckon::models {

using autograd::Boundary;
using autograd::segment;

EvoformerConfig extra_msa_config() {
  EvoformerConfig c;
  c.name = "extra-msa";
  c.c_m = 64;
  c.c_hidden_msa = 8;
  c.blocks = 4;
  return c;
}

ExtraMsaBlock::ExtraMsaBlock(Builder& b, std::string_view n, const EvoformerConfig& c)
    : name(intern(n)), config(c) {
  config.validate();
  const size_t first_parameter = b.count();
  ModuleScope scope(name);
  msa_att_row = MsaRowAttention(b, "msa_att_row", c);
  msa_att_col =
      MsaColumnGlobalAttention(b, "msa_att_col", c.c_m, c.heads_msa, c.c_hidden_msa, c.mask_value, 1e-10);
  msa_transition = Transition(b, "msa_transition", c.c_m, c.transition_n);
  outer_product_mean = OuterProductMean(b, "outer_product_mean", c.c_m, c.c_hidden_opm, c.c_z);
  pair_stack = PairStack(b, "pair_stack", c.pair_stack());
  product_weights = b.product_weights(first_parameter);
}

TensorList ExtraMsaBlock::operator()(const Tensor& m0, const Tensor& z0, const EvoformerInputs& in) const {
  ModuleScope scope(name);
  const autograd::WeightCasts casts(product_weights);
  const Tensor mask = in.msa_mask;
  const auto row = [this, mask](std::span<const Tensor> x) -> TensorList {
    return {msa_att_row(x[0], x[1], mask)};
  };
  const auto column = [this, mask](std::span<const Tensor> x) -> TensorList {
    return {msa_att_col(x[0], mask)};
  };
  const auto transition = [this](std::span<const Tensor> x) -> TensorList {
    return {msa_transition(x[0], {})};
  };
  const auto outer = [this, mask](std::span<const Tensor> x) -> TensorList {
    return {outer_product_mean(x[0], mask)};
  };
  Tensor m = add_dropped(m0, segment(Boundary::sublayer, row, {m0, z0})[0], config.msa_dropout, 1,
                         "msa_att_row", in.drop);
  m = ops::add(m, segment(Boundary::sublayer, column, {m})[0]);
  m = ops::add(m, segment(Boundary::sublayer, transition, {m})[0]);
  const Tensor z = ops::add(z0, segment(Boundary::sublayer, outer, {m})[0]);
  return {m, pair_stack(z, in.pair_mask, in.drop)};
}

}  // namespace reckon::models
