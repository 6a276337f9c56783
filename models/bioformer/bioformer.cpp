#include "models/bioformer/bioformer.h"

#include <cmath>

#include "models/nn/block.h"
#include "ops/binary/binary.h"
#include "ops/view/view.h"
#include "runtime/events/scope.h"

namespace reckon::models {

void BioformerConfig::validate() const {
  RECKON_CHECK(c_m >= 1 && c_z >= 1 && c_opm >= 1 && heads >= 1 && transition_n >= 1,
               "bioformer: every size must be at least 1");
  RECKON_CHECK(c_m % heads == 0, "bioformer: {} heads do not divide {} channels", heads, c_m);
}

int64_t BioformerConfig::n_parameters_per_block() const {
  const int64_t attention = 2 * c_m + 2 * c_z + c_z * heads + 4 * c_m * c_m + c_m;
  const int64_t transition = 2 * c_m + 2 * transition_n * c_m * c_m + transition_n * c_m + c_m;
  return attention + transition + 2 * c_m + 2 * (c_m * c_opm + c_opm) + c_opm * c_opm * c_z + c_z;
}

BioformerBlock::BioformerBlock(Builder& b, std::string_view n, const BioformerConfig& c)
    : name(intern(n)), config(c) {
  config.validate();
  ModuleScope scope(name);
  {
    ModuleScope attention("attn");
    layer_norm_m = LayerNorm(b, "layer_norm_m", c.c_m);
    layer_norm_z = LayerNorm(b, "layer_norm_z", c.c_z);
    linear_z =
        Linear(b, "linear_z", c.c_z, c.heads, false, Init::normal(1.0 / std::sqrt(static_cast<double>(c.c_z))));
  }
  attn = GatedAttention(b, "attn", c.c_m, c.heads, c.c_m / c.heads, false, 1e9);
  trans = Transition(b, "trans", c.c_m, c.transition_n);
  opm = OuterProductMean(b, "opm", c.c_m, c.c_opm, c.c_z);
}

TensorList BioformerBlock::operator()(const Tensor& m0, const Tensor& z0) const {
  ModuleScope scope(name);
  // One row of an alignment: [B, 1, R, M].
  const Shape rows{m0.size(0), 1, m0.size(1), m0.size(2)};
  const auto attention = [this, rows](auto in) {
    Tensor bias;
    TensorList qkv;
    {
      ModuleScope module(attn.name);
      bias = pair_bias(layer_norm_z, linear_z, in[1]);
      qkv = attn.projections(layer_norm_m, ops::reshape(in[0], rows));
    }
    return ops::reshape(attn(std::move(qkv), {}, bias, AttentionAxis::rows), in[0].shape());
  };
  const auto outer = [this, rows](auto in) { return opm(ops::reshape(in[0], rows), {}, OuterDivision::none); };
  Tensor m = ops::add(m0, branch({m0, z0}, attention));
  m = ops::add(m, branch({m}, [this](auto in) { return trans(in[0], {}); }));
  return {m, ops::add(z0, branch({m}, outer))};
}

}  // namespace reckon::models
