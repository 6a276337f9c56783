// The parity runner itself: a case that is wrong, incomplete or unknown must not pass.
#include "parity/cases.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "models/block_names.h"
#include "models/pairformer/pairformer.h"
#include "runtime/device.h"

namespace reckon::parity {
namespace {

namespace fs = std::filesystem;

// A copy of a case of the shared set with one thing changed.
struct Edited {
  std::map<std::string, std::string> metadata;
  std::map<std::string, std::pair<std::vector<int64_t>, std::vector<double>>> doubles;
  fs::path path = fs::temp_directory_path() / fmt::format("reckon_parity_{}.safetensors", ::getpid());

  explicit Edited(const std::string& file) {
    const auto source = data::SafetensorsFile::open(fs::path(RECKON_TEST_DATA) / "reference" / file);
    metadata = source.metadata();
    for (const std::string& n : source.names()) {
      const data::TensorView& t = source.tensor(n);
      std::vector<double> v(static_cast<size_t>(t.n_elements()));
      std::memcpy(v.data(), t.bytes.data(), t.bytes.size());
      doubles[n] = {t.shape, v};
    }
  }
  Edited() = default;
  ~Edited() { fs::remove(path); }
  Report run(Settings settings = {}) const {
    data::SafetensorsWriter writer;
    for (const auto& [k, v] : metadata) writer.set_metadata(k, v);
    for (const auto& [name, t] : doubles)
      writer.add(name, data::StoredType::F64, t.first, std::as_bytes(std::span(t.second)));
    writer.write(path);
    return run_file(path, settings);
  }
};

constexpr const char* kOp = "ops/layer_norm_a.safetensors";
constexpr const char* kModule = "evoformer/sub_pair_transition.safetensors";

TEST(Parity, UnchangedCopiesPass) {
  EXPECT_TRUE(Edited(kOp).run().passed());
  EXPECT_TRUE(Edited(kModule).run().passed());
}

TEST(Parity, OneWrongElementOfAnOutputFails) {
  for (const auto& [file, tensor] : {std::pair{kOp, "out.y"}, {kModule, "out.update"}}) {
    Edited e(file);
    e.doubles.at(tensor).second[7] += 1e-6;
    const Report r = e.run();
    EXPECT_FALSE(r.passed());
    EXPECT_EQ(r.worst()->tensor, tensor);
  }
}

TEST(Parity, OneWrongElementOfAGradientFails) {
  for (const auto& [file, tensor] : {std::pair{kOp, "grad.bias"}, {kModule, "grad.param.linear_1.weight"}}) {
    Edited e(file);
    e.doubles.at(tensor).second[3] += 1e-6;
    const Report r = e.run();
    EXPECT_FALSE(r.passed());
    EXPECT_EQ(r.worst()->tensor, tensor);
  }
}

TEST(Parity, NanInAnExpectedValueFails) {
  Edited e(kOp);
  e.doubles.at("out.y").second[0] = NAN;
  EXPECT_FALSE(e.run().passed());
}

TEST(Parity, ATensorNobodyLooksAtFails) {
  for (const char* file : {kOp, kModule}) {
    Edited e(file);
    e.doubles["out.extra"] = {{1}, {1.0}};
    const Report r = e.run();
    EXPECT_FALSE(r.passed());
    ASSERT_EQ(r.problems.size(), 1u);
    EXPECT_NE(r.problems[0].find("out.extra"), std::string::npos);
  }
}

TEST(Parity, UnknownOpsClassesAndConfigsCannotRun) {
  Edited op(kOp);
  op.metadata["op"] = "no_such_op";
  EXPECT_NE(op.run().problems.at(0).find("cannot run"), std::string::npos);
  Edited module(kModule);
  Json source = Json::parse(module.metadata["source"]);
  source["cls"] = "NoSuchClass";
  module.metadata["source"] = source.dump();
  EXPECT_NE(module.run().problems.at(0).find("cannot run"), std::string::npos);
  Edited sizes(kModule);
  sizes.metadata["config"] = R"({"c_z": 16, "n": 2})";
  EXPECT_FALSE(sizes.run().passed());
}

TEST(Parity, AMissingParameterCannotRun) {
  Edited e(kModule);
  e.doubles.erase("param.linear_2.bias");
  EXPECT_NE(e.run().problems.at(0).find("linear_2.bias"), std::string::npos);
}

TEST(Parity, TensorsCalledZeroAreHeldToTheLargestGradient) {
  Edited e("evoformer/sub_msa_row_attention.safetensors");
  ASSERT_TRUE(e.run().passed());
  e.metadata["zero_grads"] =
      R"(["grad.param.layer_norm_z.bias", "grad.param.linear_z.weight"])";  // the second is not
  EXPECT_FALSE(e.run().passed());
}

TEST(Parity, PaddedOutputsCountOnlyWhereTheMaskIsOne) {
  Edited e("evoformer/block_padded.safetensors");
  const auto& mask = e.doubles.at("in.msa_mask").second;
  auto& out = e.doubles.at("out.m").second;
  const size_t width = out.size() / mask.size();
  const size_t padded = static_cast<size_t>(std::find(mask.begin(), mask.end(), 0.0) - mask.begin());
  const size_t real = static_cast<size_t>(std::find(mask.begin(), mask.end(), 1.0) - mask.begin());
  out[padded * width] += 1;
  EXPECT_TRUE(e.run().passed());
  out[real * width] += 1;
  EXPECT_FALSE(e.run().passed());
}

std::vector<double> ramp(size_t n, double seed) {
  std::vector<double> v(n);
  for (size_t i = 0; i < n; ++i) v[i] = std::sin(seed + 1.7 * static_cast<double>(i));
  return v;
}

// Two queries, three keys: the public code lets query i see keys 0..i, whatever the number of keys.
TEST(Parity, CausalAttentionWithMoreKeysThanQueriesCountsFromTheFirst) {
  const std::vector<double> q = ramp(4, 0.3), k = ramp(6, 1.1), v = ramp(6, 2.9);
  std::vector<double> y(4, 0);
  for (size_t i = 0; i < 2; ++i) {
    double sum = 0;
    for (size_t j = 0; j <= i; ++j) {
      const double p = std::exp((q[2 * i] * k[2 * j] + q[2 * i + 1] * k[2 * j + 1]) / std::sqrt(2.0));
      sum += p;
      for (size_t d = 0; d < 2; ++d) y[2 * i + d] += p * v[2 * j + d];
    }
    for (size_t d = 0; d < 2; ++d) y[2 * i + d] /= sum;
  }
  Edited e;
  e.metadata = {{"op", "sdpa"}, {"attrs", R"({"causal": true})"}};
  e.doubles = {{"in.q", {{1, 1, 2, 2}, q}},
               {"in.k", {{1, 1, 3, 2}, k}},
               {"in.v", {{1, 1, 3, 2}, v}},
               {"out.y", {{1, 1, 2, 2}, y}},
               {"cot.y", {{1, 1, 2, 2}, ramp(4, 0)}}};
  for (const char* fuse : {"none", "attention"}) {
    const Report r = e.run({.fuse = autograd::FusionSet::parse(fuse)});
    EXPECT_TRUE(r.passed()) << fuse << (r.problems.empty() ? "" : r.problems[0]);
  }
}

TEST(Parity, LayerNormOverTwoAxesIsOverTheirProduct) {
  const std::vector<double> x = ramp(12, 0.4), w = ramp(6, 1), b = ramp(6, 2);
  std::vector<double> y(12);
  for (size_t row = 0; row < 2; ++row) {
    double mean = 0, var = 0;
    for (size_t i = 0; i < 6; ++i) mean += x[row * 6 + i] / 6;
    for (size_t i = 0; i < 6; ++i) var += (x[row * 6 + i] - mean) * (x[row * 6 + i] - mean) / 6;
    for (size_t i = 0; i < 6; ++i)
      y[row * 6 + i] = (x[row * 6 + i] - mean) / std::sqrt(var + 1e-5) * w[i] + b[i];
  }
  Edited e;
  e.metadata = {{"op", "layer_norm"}, {"attrs", R"({"eps": 1e-5, "normalized_dims": 2})"}};
  e.doubles = {{"in.x", {{2, 2, 3}, x}},
               {"in.weight", {{2, 3}, w}},
               {"in.bias", {{2, 3}, b}},
               {"out.y", {{2, 2, 3}, y}},
               {"cot.y", {{2, 2, 3}, ramp(12, 0)}}};
  const Report r = e.run();
  EXPECT_TRUE(r.passed()) << (r.problems.empty() ? "" : r.problems[0]);
}

TEST(Parity, MatrixTimesVectorTreatsItAsAColumn) {
  Edited e;
  e.metadata = {{"op", "matmul"}, {"attrs", "{}"}};
  e.doubles = {{"in.a", {{2, 2}, {1, 2, 3, 4}}},
               {"in.b", {{2}, {5, 6}}},
               {"out.y", {{2}, {17, 39}}},
               {"cot.y", {{2}, {1, 1}}},
               {"grad.b", {{2}, {4, 6}}}};
  const Report r = e.run();
  EXPECT_TRUE(r.passed()) << (r.problems.empty() ? "" : r.problems[0]);
}

TEST(Parity, DistancesFollowTheirDefinitions) {
  EXPECT_DOUBLE_EQ(distance(Measure::largest, {1.5, 4}, {1, 4}), 0.5 / 4);
  EXPECT_DOUBLE_EQ(distance(Measure::elementwise, {1.5, 4}, {1, 4}), 0.5 / 5);
  EXPECT_DOUBLE_EQ(distance(Measure::absolute, {1.5, 4}, {1, 4}), 0.5);
  EXPECT_DOUBLE_EQ(distance(Measure::exact, {1.5, 4}, {1, 4}), 1);
  EXPECT_DOUBLE_EQ(distance(Measure::rms, {1, 7}, {1, 4}), 3 / std::sqrt(17.0));
  EXPECT_TRUE(std::isinf(distance(Measure::largest, {1}, {1, 4})));
  EXPECT_TRUE(std::isinf(distance(Measure::largest, {NAN, 4}, {1, 4})));
  EXPECT_TRUE(std::isinf(distance(Measure::largest, {1}, {0})));
}

TEST(Parity, NamesMapByWholePathComponents) {
  EXPECT_EQ(models::our_name("msa_att_col._msa_att.mha.linear_q.weight", models::openfold_names()),
            "msa_att_col.mha.linear_q.weight");
  EXPECT_EQ(models::our_name("attention_pair_bias.attention.linear_g.weight", models::protenix_names()),
            "attention_pair_bias.mha.linear_g.weight");
  EXPECT_EQ(models::our_name("tri_mul_in.linear_a_p.weight", models::protenix_names()),
            "pair_stack.tri_mul_in.linear_a_p.weight");
  EXPECT_EQ(models::our_name("attention.proj_z.0.bias", models::boltz_names()),
            "attention_pair_bias.layer_norm_z.bias");
  EXPECT_EQ(models::our_name("attention.proj_o.weight", models::boltz_names()),
            "attention_pair_bias.mha.linear_o.weight");
  EXPECT_EQ(models::our_name("proj_o.bias", models::boltz_names()), "linear_out.bias");
}

}  // namespace
}  // namespace reckon::parity

namespace reckon::models {
namespace {

TEST(Pairformer, BlockOfThePublishedSizesHasThePublishedParameters) {
  Device device(DeviceKind::meta, DeviceSpec::this_machine());
  ParameterSet parameters;
  Builder b(device, DType::f32, 1, parameters);
  const PairformerConfig config;
  const PairformerBlock block(b, "0", config);
  EXPECT_EQ(parameters.n_elements(), 3'070'848);
  EXPECT_EQ(config.n_parameters_per_block(), 3'070'848);
}

}  // namespace
}  // namespace reckon::models
