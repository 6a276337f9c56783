// How each class of OpenFold, Protenix, Boltz and bioformer is built here.
#include "autograd/autocast.h"
#include "autograd/checkpoint.h"
#include "models/bioformer/bioformer.h"
#include "models/pairformer/pairformer.h"
#include "ops/binary/binary.h"
#include "ops/view/view.h"
#include "parity/evoformer_cases.h"
#include "runtime/events/scope.h"

namespace reckon::parity {
namespace {

using namespace models;  // NOLINT: everything below builds models
using autograd::Boundary;
using autograd::segment;

using Run = std::function<Outputs()>;

// A lone module's update, under whatever checkpoint policy is in force.
template <class F>
Run update(ModuleRun& r, F f, TensorList inputs) {
  const bool block = r.file.settings().checkpoint == autograd::CheckpointPolicy::block;
  return [f = std::move(f), inputs = std::move(inputs), block] {
    const auto run = [&f](std::span<const Tensor> in) -> TensorList { return {f(in)}; };
    return Outputs{{"update", segment(block ? Boundary::block : Boundary::sublayer, run, inputs)[0]}};
  };
}

// --- OpenFold

Run row_attention(ModuleRun& r) {
  EvoformerConfig c;
  c.c_m = r.size("c_m"), c.c_z = r.size("c_z"), c.c_hidden_msa = r.size("c_hidden"),
  c.heads_msa = r.size("no_heads");
  c.mask_value = r.real("inf", 1e9);
  Builder b = r.builder();
  auto module = std::make_shared<MsaRowAttention>(b, "", c);
  const Tensor mask = r.mask("msa_mask");
  return update(r, [module, mask](auto in) { return (*module)(in[0], in[1], mask); }, {r.in("m"), r.in("z")});
}

Run column_attention(ModuleRun& r) {
  EvoformerConfig c;
  c.c_m = r.size("c_m"), c.c_hidden_msa = r.size("c_hidden"), c.heads_msa = r.size("no_heads");
  c.mask_value = r.real("inf", 1e9);
  Builder b = r.builder();
  auto module = std::make_shared<MsaColumnAttention>(b, "", c);
  const Tensor mask = r.mask("msa_mask");
  return update(r, [module, mask](auto in) { return (*module)(in[0], mask); }, {r.in("m")});
}

Run column_global_attention(ModuleRun& r) {
  Builder b = r.builder();
  auto module = std::make_shared<MsaColumnGlobalAttention>(
      b, "", r.size("c_in"), r.size("no_heads"), r.size("c_hidden"), r.real("inf", 1e9), r.real("eps", 1e-10));
  const Tensor mask = r.mask("msa_mask");
  return update(r, [module, mask](auto in) { return (*module)(in[0], mask); }, {r.in("m")});
}

Run transition(ModuleRun& r, const char* input, const char* channels, const char* mask_name) {
  Builder b = r.builder();
  auto module = std::make_shared<Transition>(b, "", r.size(channels), r.size("n"));
  const Tensor mask = r.mask(mask_name);
  return update(r, [module, mask](auto in) { return (*module)(in[0], mask); }, {r.in(input)});
}

Run outer_product_mean(ModuleRun& r, int64_t c_in, int64_t c_out, bool biases, OuterDivision division) {
  Builder b = r.builder();
  auto module = std::make_shared<OuterProductMean>(b, "", c_in, r.size("c_hidden"), c_out, biases);
  module->eps = r.real("eps", module->eps);
  const Tensor mask = r.mask("msa_mask");
  return update(r, [module, mask, division](auto in) { return (*module)(in[0], mask, division); }, {r.in("m")});
}

Run triangle_multiplication(ModuleRun& r, bool outgoing) {
  const TriangleMultiplicationConfig c{.c_z = r.size("c_z"),
                                       .c_hidden = r.size("c_hidden"),
                                       .biases = r.file.has("param.linear_g.bias"),
                                       .fused_projections = r.file.has("param.linear_ab_p.weight")};
  Builder b = r.builder();
  auto module = std::make_shared<TriangleMultiplication>(b, "", c, outgoing);
  const Tensor mask = r.mask("pair_mask");
  return update(r, [module, mask](auto in) { return (*module)(in[0], mask); }, {r.in("z")});
}

Run triangle_attention(ModuleRun& r, AttentionAxis axis) {
  PairStackConfig c;
  c.c_z = r.size("c_in"), c.c_hidden = r.size("c_hidden"), c.heads = r.size("no_heads");
  c.biases = r.file.has("param.mha.linear_g.bias");
  c.mask_value = r.real("inf", 1e9);
  Builder b = r.builder();
  auto module = std::make_shared<TriangleAttention>(b, "", c, axis);
  const Tensor mask = r.mask("pair_mask");
  return update(r, [module, mask](auto in) { return (*module)(in[0], mask); }, {r.in("z")});
}

EvoformerConfig openfold_block_config(ModuleRun& r) {
  r.require("no_column_attention", false);
  EvoformerConfig c;
  c.name = "golden";
  c.c_m = r.size("c_m"), c.c_z = r.size("c_z");
  c.c_hidden_msa = r.size("c_hidden_msa_att"), c.heads_msa = r.size("no_heads_msa");
  c.c_hidden_pair = r.size("c_hidden_pair_att"), c.heads_pair = r.size("no_heads_pair");
  c.c_hidden_mul = r.size("c_hidden_mul"), c.c_hidden_opm = r.size("c_hidden_opm");
  c.transition_n = r.size("transition_n");
  c.msa_dropout = r.real("msa_dropout", 0), c.pair_dropout = r.real("pair_dropout", 0);
  c.opm_first = r.flag("opm_first"), c.fuse_projection_weights = r.flag("fuse_projection_weights");
  c.mask_value = r.real("inf", 1e9);
  c.mask_transitions = r.call.value("mask_transitions", true);
  return c;
}

// Recorded masks of the sites that were dropped out; the ending node's lies in the transposed frame.
DropoutSource recorded_dropout(ModuleRun& r) {
  std::map<std::string, Tensor> masks;
  for (const std::string& site : r.file.names_under("dropout.")) masks[site] = r.constant("dropout." + site);
  const bool training = r.call.value("training", false);
  const bool drops = r.real("msa_dropout", 0) > 0 || r.real("pair_dropout", 0) > 0 || r.real("dropout", 0) > 0;
  RECKON_CHECK(!(training && drops) || !masks.empty(),
               "cannot run: dropout was on and the file records no masks");
  DropoutSource source;
  if (masks.empty()) return source;
  source.training = true;
  source.recorded = [masks](std::string_view site, const Tensor& x) {
    const std::string theirs = site == "msa_att_row" ? "msa_row" : std::string(site);
    const auto it = masks.find(theirs);
    RECKON_CHECK(it != masks.end(), "cannot run: the file has no dropout.{}", theirs);
    return ops::mul(x, site == "tri_att_end" ? it->second.transposed(1, 2) : it->second);
  };
  return source;
}

TensorList run_block(const EvoformerBlock& block, const EvoformerInputs& in, TensorList mz) {
  return segment(
      Boundary::block, [&block, in](std::span<const Tensor> v) -> TensorList { return block(v[0], v[1], in); },
      std::move(mz));
}

Run evoformer_block(ModuleRun& r) {
  Builder b = r.builder();
  auto block = std::make_shared<EvoformerBlock>(b, "", openfold_block_config(r));
  const EvoformerInputs in{r.mask("msa_mask"), r.mask("pair_mask"), recorded_dropout(r)};
  return [block, in, m = r.in("m"), z = r.in("z")] {
    TensorList out = run_block(*block, in, {autograd::residual_stream(m), autograd::residual_stream(z)});
    return Outputs{{"m", out[0]}, {"z", out[1]}};
  };
}

// Blocks, then s = Linear(first row of m).
Run evoformer_stack(ModuleRun& r) {
  Builder b = r.builder();
  const EvoformerConfig c = openfold_block_config(r);
  auto blocks = std::make_shared<std::vector<std::unique_ptr<EvoformerBlock>>>();
  {
    ModuleScope scope("blocks");
    for (int64_t i = 0; i < r.size("no_blocks"); ++i)
      blocks->push_back(std::make_unique<EvoformerBlock>(b, std::to_string(i), c));
  }
  auto linear = std::make_shared<Linear>(b, "linear", c.c_m, r.size("c_s"), true, Init::constant(0));
  const EvoformerInputs in{r.mask("msa_mask"), r.mask("pair_mask"), recorded_dropout(r)};
  return [blocks, linear, in, m0 = r.in("m"), z0 = r.in("z")] {
    TensorList mz{m0, z0};
    for (const auto& block : *blocks) mz = run_block(*block, in, std::move(mz));
    const Tensor row = ops::slice(mz[0], 1, 0, 1);
    return Outputs{{"m", mz[0]}, {"z", mz[1]}, {"s", (*linear)(ops::squeeze(row, 1))}};
  };
}

// --- AlphaFold 3: Protenix and Boltz

Run swiglu_transition(ModuleRun& r, int64_t channels, int64_t factor) {
  Builder b = r.builder();
  auto module = std::make_shared<SwigluTransition>(b, "", channels, factor);
  return update(r, [module](auto in) { return (*module)(in[0]); }, {r.in("x")});
}

Run protenix_transition(ModuleRun& r) { return swiglu_transition(r, r.size("c_in"), r.size("n")); }

Run boltz_transition(ModuleRun& r) {
  const int64_t channels = r.size("dim"), hidden = r.size("hidden");
  r.require("out_dim", channels);
  RECKON_CHECK(hidden % channels == 0, "cannot run: {} hidden channels are no multiple of {}", hidden,
               channels);
  return swiglu_transition(r, channels, hidden / channels);
}

Run attention_pair_bias(ModuleRun& r) {
  r.require("has_s", false);
  r.require("create_offset_ln_z", true);
  Builder b = r.builder();
  auto module =
      std::make_shared<AttentionPairBias>(b, "", r.size("c_a"), r.size("c_z"), r.size("n_heads"), 1e9);
  return update(r, [module](auto in) { return (*module)(in[0], in[1], {}); }, {r.in("s"), r.in("z")});
}

Run pair_weighted_averaging(ModuleRun& r) {
  Builder b = r.builder();
  auto module = std::make_shared<PairWeightedAveraging>(b, "", r.size("c_m"), r.size("c_z"), r.size("n_heads"),
                                                        r.size("c"));
  return update(r, [module](auto in) { return (*module)(in[0], in[1]); }, {r.in("m"), r.in("z")});
}

Run pairformer(ModuleRun& r, const PairformerConfig& c) {
  Builder b = r.builder();
  auto block = std::make_shared<PairformerBlock>(b, "", c);
  const PairformerInputs in{r.mask("pair_mask"), r.mask("mask"), recorded_dropout(r)};
  return [block, in, s = r.in("s"), z = r.in("z")] {
    const auto run = [&block, &in](std::span<const Tensor> v) -> TensorList {
      return (*block)(v[0], v[1], in);
    };
    TensorList out = segment(Boundary::block, run, {s, z});
    return Outputs{{"s", out[0]}, {"z", out[1]}};
  };
}

Run protenix_pairformer(ModuleRun& r) {
  PairformerConfig c;
  c.c_s = r.size("c_s"), c.c_z = r.size("c_z"), c.heads_single = r.size("n_heads");
  c.c_hidden_mul = r.size("c_hidden_mul"), c.c_hidden_pair = r.size("c_hidden_pair_att"),
  c.heads_pair = r.size("no_heads_pair");
  c.pair_transition_n = r.config.value("num_intermediate_factor", int64_t{4});
  c.pair_dropout = r.real("dropout", 0);
  return pairformer(r, c);
}

Run boltz_pairformer(ModuleRun& r) {
  r.require("v2", true);
  PairformerConfig c;
  c.c_s = r.size("token_s"), c.c_z = r.size("token_z"), c.heads_single = r.size("num_heads");
  c.c_hidden_mul = c.c_z, c.c_hidden_pair = r.size("pairwise_head_width"),
  c.heads_pair = r.size("pairwise_num_heads");
  c.pair_dropout = r.real("dropout", 0);
  c.fuse_projection_weights = true;
  c.single_mask_value = 1e6;
  return pairformer(r, c);
}

// --- bioformer

Run bioformer_block(ModuleRun& r) {
  r.require("do_opm", true);
  r.require("do_pair_bias", true);
  BioformerConfig c;
  c.c_m = r.size("c_m"), c.c_z = r.size("c_z"), c.c_opm = r.size("c_opm"), c.heads = r.size("no_heads");
  Builder b = r.builder();
  auto block = std::make_shared<BioformerBlock>(b, "", c);
  return [block, m = r.in("m"), z = r.in("z")] {
    const auto run = [&block](std::span<const Tensor> v) -> TensorList { return (*block)(v[0], v[1]); };
    TensorList out = segment(Boundary::block, run, {m, z});
    return Outputs{{"m", out[0]}, {"z", out[1]}};
  };
}

// --- reckon's own: what the benchmarks compare

// Pair stacks alone, one checkpointed block each.
Run pair_stack(ModuleRun& r) {
  PairStackConfig c;
  c.c_z = r.size("c_z"), c.c_hidden_mul = r.size("c_hidden_mul");
  c.c_hidden = r.size("c_hidden_pair_att"), c.heads = r.size("no_heads_pair");
  c.transition_n = r.size("transition_n");
  c.biases = false, c.swiglu_transition = true, c.dropout = 0;
  Builder b = r.builder();
  auto blocks = std::make_shared<std::vector<PairStack>>();
  {
    ModuleScope scope("blocks");
    for (int64_t i = 0; i < r.size("no_blocks"); ++i) blocks->push_back(PairStack(b, std::to_string(i), c));
  }
  const Tensor mask = r.mask("pair_mask");
  return [blocks, mask, z0 = r.in("z")] {
    Tensor z = autograd::residual_stream(z0);
    for (const PairStack& block : *blocks) {
      const auto run = [&block, mask](std::span<const Tensor> v) -> TensorList {
        return {block(v[0], mask, {})};
      };
      z = segment(Boundary::block, run, {z})[0];
    }
    return Outputs{{"z", z}};
  };
}

constexpr const char* kOwnRepo = "reckon";
constexpr const char* kOpenFoldRepo = "aqlaboratory/openfold";
constexpr const char* kProtenixRepo = "bytedance/Protenix";
constexpr const char* kBoltzRepo = "jwohlwend/boltz";

Run opm_divided_after(ModuleRun& r) {
  return outer_product_mean(r, r.size("c_m"), r.size("c_z"), r.file.has("param.linear_1.bias"),
                            OuterDivision::after_projection);
}
Run opm_divided_before(ModuleRun& r) {
  return outer_product_mean(r, r.size("c_in"), r.size("c_out"), false, OuterDivision::before_projection);
}
Run opm_not_divided(ModuleRun& r) {
  return outer_product_mean(r, r.size("c_m"), r.size("c_z"), true, OuterDivision::none);
}
Run msa_transition(ModuleRun& r) { return transition(r, "m", "c_m", "msa_mask"); }
Run pair_transition(ModuleRun& r) { return transition(r, "z", "c_z", "pair_mask"); }
Run outgoing(ModuleRun& r) { return triangle_multiplication(r, true); }
Run incoming(ModuleRun& r) { return triangle_multiplication(r, false); }
Run starting(ModuleRun& r) { return triangle_attention(r, AttentionAxis::rows); }
Run ending(ModuleRun& r) { return triangle_attention(r, AttentionAxis::columns); }

const PublicClass kClasses[] = {
    {kOpenFoldRepo, "MSARowAttentionWithPairBias", openfold_names, row_attention},
    {kOpenFoldRepo, "MSAColumnAttention", openfold_names, column_attention},
    {kOpenFoldRepo, "MSAColumnGlobalAttention", openfold_names, column_global_attention},
    {kOpenFoldRepo, "MSATransition", openfold_names, msa_transition},
    {kOpenFoldRepo, "PairTransition", openfold_names, pair_transition},
    {kOpenFoldRepo, "OuterProductMean", openfold_names, opm_divided_after},
    {kOpenFoldRepo, "TriangleMultiplicationOutgoing", openfold_names, outgoing},
    {kOpenFoldRepo, "TriangleMultiplicationIncoming", openfold_names, incoming},
    {kOpenFoldRepo, "FusedTriangleMultiplicationOutgoing", openfold_names, outgoing},
    {kOpenFoldRepo, "FusedTriangleMultiplicationIncoming", openfold_names, incoming},
    {kOpenFoldRepo, "TriangleAttentionStartingNode", openfold_names, starting},
    {kOpenFoldRepo, "TriangleAttentionEndingNode", openfold_names, ending},
    {kOpenFoldRepo, "EvoformerBlock", openfold_names, evoformer_block},
    {kOpenFoldRepo, "EvoformerStack", openfold_names, evoformer_stack},
    {kProtenixRepo, "Transition", protenix_names, protenix_transition},
    {kProtenixRepo, "AttentionPairBias", protenix_names, attention_pair_bias},
    {kProtenixRepo, "MSAPairWeightedAveraging", protenix_names, pair_weighted_averaging},
    {kProtenixRepo, "OuterProductMean", protenix_names, opm_divided_after},
    {kProtenixRepo, "TriangleMultiplicationOutgoing", protenix_names, outgoing},
    {kProtenixRepo, "TriangleMultiplicationIncoming", protenix_names, incoming},
    {kProtenixRepo, "PairformerBlock", protenix_names, protenix_pairformer},
    {kBoltzRepo, "PairformerLayer", boltz_names, boltz_pairformer},
    {kBoltzRepo, "Transition", boltz_names, boltz_transition},
    {kBoltzRepo, "OuterProductMean", boltz_names, opm_divided_before},
    {kOwnRepo, "PairStack", bioformer_names, pair_stack},
    {"giacomo-ciro/240316_bio-llms", "OuterProductMean", bioformer_names, opm_not_divided},
    {"giacomo-ciro/240316_bio-llms", "BioFormerBlock", bioformer_names, bioformer_block},
};

}  // namespace

std::span<const PublicClass> public_classes() { return kClasses; }

}  // namespace reckon::parity
