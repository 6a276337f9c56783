// Parameter counts against the published figures; dry runs at full size.
#include <gtest/gtest.h>

#include "models/bioformer/bioformer.h"
#include "models/evoformer/evoformer.h"
#include "models/pairformer/masked_residue.h"
#include "models/qwen/qwen.h"

namespace reckon::models {
namespace {

struct Published {
  const char* name;
  int64_t total, per_layer;
};

TEST(Sizes, QwenCountsAreThePublishedOnes) {
  for (const Published& p : {Published{"qwen2.5-0.5b", 494032768, 14912384},
                             {"qwen2.5-1.5b", 1543714304, 46797824},
                             {"qwen2.5-3b", 3085938688, 77076992},
                             {"qwen2.5-7b", 7615616512, 233057792},
                             {"qwen2.5-14b", 14770033664, 275268608},
                             {"qwen2.5-32b", 32763876352, 487605248},
                             {"qwen2.5-72b", 72706203648, 877684736},
                             {"qwen3-0.6b", 596049920, 15730944},
                             {"qwen3-1.7b", 1720574976, 50336000},
                             {"qwen3-4b", 4022468096, 100930816},
                             {"qwen3-8b", 8190735360, 192946432},
                             {"qwen3-14b", 14768307200, 330311936},
                             {"qwen3-32b", 32762123264, 487598336}}) {
    const QwenConfig c = QwenConfig::preset(p.name);
    EXPECT_EQ(c.n_parameters(), p.total) << p.name;
    EXPECT_EQ(c.n_parameters_per_layer(), p.per_layer) << p.name;
    Device device(DeviceKind::meta, DeviceSpec::this_machine());
    const Qwen model(device, c, 1);
    EXPECT_EQ(model.parameters().n_elements(), p.total) << p.name;
    EXPECT_EQ(device.arena().live_bytes(Category::parameter), static_cast<size_t>(4 * p.total)) << p.name;
  }
}

TEST(Sizes, EvoformerBlockHasThePublishedCount) {
  EvoformerConfig c = EvoformerConfig::preset("alphafold2");
  EXPECT_EQ(c.n_parameters_per_block(), 1829952);
  Device device(DeviceKind::meta, DeviceSpec::this_machine());
  ParameterSet set;
  Builder b(device, DType::f32, 1, set);
  const EvoformerBlock block(b, "block", c);
  EXPECT_EQ(set.n_elements(), 1829952);
  for (const char* preset : {"demo", "tiny"}) {
    ParameterSet small;
    Builder sb(device, DType::f32, 1, small);
    const EvoformerBlock other(sb, "block", EvoformerConfig::preset(preset));
    EXPECT_EQ(small.n_elements(), EvoformerConfig::preset(preset).n_parameters_per_block()) << preset;
  }
}

TEST(Sizes, PairformerHasThePublishedCountsAndTheModelTheClosedForm) {
  const PairformerConfig published = PairformerConfig::preset("alphafold3");
  EXPECT_EQ(published.n_parameters_per_block(), 3070848);
  EXPECT_EQ(published.n_parameters_of_blocks(), 147400704);
  EXPECT_EQ(PairformerConfig{}.n_parameters_per_block(), 3070848) << "the defaults are the published sizes";
  for (const std::string& preset : PairformerConfig::preset_names()) {
    const PairformerConfig c = PairformerConfig::preset(preset);
    Device device(DeviceKind::meta, DeviceSpec::this_machine());
    ParameterSet block_set;
    Builder b(device, DType::f32, 1, block_set);
    const PairformerBlock block(b, "block", c);
    EXPECT_EQ(block_set.n_elements(), c.n_parameters_per_block()) << preset;
    const MaskedResidueModel model(device, c, 1);
    EXPECT_EQ(model.parameters().n_elements(), c.n_parameters()) << preset;
    int64_t in_blocks = 0;
    for (const NamedParameter& p : model.parameters().all())
      if (p.name.starts_with("blocks.")) in_blocks += p.tensor.numel();
    EXPECT_EQ(in_blocks, c.n_parameters_of_blocks()) << preset;
  }
}

TEST(Sizes, PairformerSizesThatCannotWorkAreRefusedByName) {
  const auto message = [](auto change) {
    PairformerConfig c = PairformerConfig::preset("tiny");
    change(c);
    try {
      c.validate();
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_NE(
      message([](PairformerConfig& c) { c.heads_single = 3; }).find("3 heads do not divide the 16 channels"),
      std::string::npos);
  EXPECT_NE(message([](PairformerConfig& c) { c.blocks = 0; }).find("tiny: blocks must be"), std::string::npos);
  EXPECT_NE(message([](PairformerConfig& c) { c.pair_dropout = 1; }).find("pair_dropout"), std::string::npos);
  EXPECT_NE(message([](PairformerConfig& c) { c.single_mask_value = -1; }).find("single_mask_value"),
            std::string::npos);
  EXPECT_THROW(PairformerConfig::preset("alphafold2"), Error);
}

TEST(Sizes, BioformerBlockHasThePublishedCount) {
  Device device(DeviceKind::meta, DeviceSpec::this_machine());
  for (const auto& [config, expected] :
       {std::pair{BioformerConfig{}, int64_t{938432}},
        {BioformerConfig{.c_m = 128, .c_z = 128, .c_opm = 128, .heads = 4}, int64_t{2329216}}}) {
    ParameterSet set;
    Builder b(device, DType::f32, 1, set);
    const BioformerBlock block(b, "block", config);
    EXPECT_EQ(set.n_elements(), expected);
    EXPECT_EQ(config.n_parameters_per_block(), expected);
  }
}

TEST(Sizes, HeadsThatDoNotDivideAreRefused) {
  QwenConfig c = QwenConfig::preset("tiny");
  c.kv_heads = 3;
  EXPECT_THROW(c.validate(), Error);
  c = QwenConfig::preset("tiny");
  c.head_dim = 7;
  EXPECT_THROW(c.validate(), Error);
}

}  // namespace
}  // namespace reckon::models
