// Files with the names of OpenFold, Protenix and Boltz fill blocks that then compute what that code computed.
#include "models/block_weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <deque>

#include "autograd/grad_mode.h"
#include "models/data/safetensors.h"
#include "models/evoformer/evoformer.h"
#include "models/nn/stored.h"
#include "models/pairformer/pairformer.h"
#include "runtime/events/scope.h"

namespace reckon::models {
namespace {

namespace fs = std::filesystem;
using data::SafetensorsFile;

const fs::path kReference = fs::path(RECKON_TEST_DATA) / "reference/evoformer";

struct BlockWeights : ::testing::Test {
  Device device{DeviceKind::cpu, DeviceSpec::this_machine()};
  Device meta{DeviceKind::meta, DeviceSpec::this_machine()};
  ParameterSet parameters;
  fs::path made = fs::temp_directory_path() / fmt::format("reckon_blocks_{}.safetensors", getpid());

  ~BlockWeights() override { fs::remove(made); }

  Tensor read(const SafetensorsFile& file, const std::string& name) {
    const data::TensorView& v = file.tensor(name);
    Shape shape;
    for (int64_t n : v.shape) shape.push_back(n);
    const Tensor t = Tensor::empty(device, shape, DType::f32, Category::input, name);
    fill_parameter(v, 0, t);
    return t;
  }
  void expect_near(const Tensor& got, const Tensor& expected) {
    ASSERT_EQ(got.shape(), expected.shape());
    for (int64_t i = 0; i < got.numel(); ++i)
      ASSERT_NEAR(got.data<float>()[i], expected.data<float>()[i], 2e-4) << i;
  }

  // A file like a whole model's: the blocks under `stack`, and something around them.
  void write_model(const std::vector<std::string>& cases, const std::string& stack,
                   const std::string& leave_out = "") {
    data::SafetensorsWriter writer;
    static const float around[2] = {1, 2};
    std::deque<SafetensorsFile> files;
    writer.add("head.weight", data::StoredType::F32, {2}, std::as_bytes(std::span(around)));
    for (size_t i = 0; i < cases.size(); ++i) {
      const SafetensorsFile& file =
          files.emplace_back(SafetensorsFile::open(kReference / (cases[i] + ".safetensors")));
      for (const std::string& name : file.names()) {
        if (!name.starts_with("param.") || name == leave_out) continue;
        const data::TensorView& v = file.tensor(name);
        writer.add(fmt::format("{}.{}.{}", stack, i, name.substr(6)), v.dtype, v.shape, v.bytes);
      }
    }
    writer.write(made);
  }
  std::string message(const BlockWeightsOptions& o) {
    try {
      load_block_weights(o, parameters);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }

  std::unique_ptr<PairformerBlock> pairformer(const PairformerConfig& c, Device& d, int64_t blocks = 1) {
    Builder b(d, DType::f32, 1, parameters);
    std::unique_ptr<PairformerBlock> first;
    ModuleScope scope("blocks");
    for (int64_t i = 0; i < blocks; ++i) {
      auto block = std::make_unique<PairformerBlock>(b, std::to_string(i), c);
      if (i == 0) first = std::move(block);
    }
    return first;
  }
  void expect_reference(const PairformerBlock& block, const std::string& name) {
    const SafetensorsFile file = SafetensorsFile::open(kReference / (name + ".safetensors"));
    autograd::NoGrad no_grad;
    const PairformerInputs in{
        read(file, "in.pair_mask"), file.contains("in.mask") ? read(file, "in.mask") : Tensor{}, {}};
    const TensorList out = block(read(file, "in.s"), read(file, "in.z"), in);
    expect_near(out[0], read(file, "out.s"));
    expect_near(out[1], read(file, "out.z"));
  }
};

// Of the cases of Protenix and Boltz with masks of ones.
PairformerConfig sizes() {
  PairformerConfig c;
  c.c_s = 24, c.c_z = 12, c.heads_single = 4, c.c_hidden_pair = 6, c.heads_pair = 2, c.c_hidden_mul = 12;
  return c;  // with two projections where Boltz has one
}
TEST_F(BlockWeights, BoltzNamesFillABlockAndItsJointProjectionsAreSplit) {
  const auto block = pairformer(sizes(), device);
  write_model({"pairformer_boltz_ones"}, "pairformer_module.layers");
  const LoadedBlocks read = load_block_weights({made, ""}, parameters);
  EXPECT_EQ(read.code, "Boltz");
  EXPECT_EQ(read.prefix, "pairformer_module.layers");
  EXPECT_EQ(read.n_tensors, 53);
  expect_reference(*block, "pairformer_boltz_ones");
}

TEST_F(BlockWeights, ProtenixNamesFillABlock) {
  const auto block = pairformer(sizes(), device);
  write_model({"pairformer_protenix_ones"}, "pairformer_stack.blocks");
  const LoadedBlocks read = load_block_weights({made, ""}, parameters);
  EXPECT_EQ(read.code, "Protenix");
  EXPECT_EQ(read.n_tensors, 57);
  expect_reference(*block, "pairformer_protenix_ones");
}

TEST_F(BlockWeights, OpenFoldNamesFillAStack) {
  EvoformerConfig c;
  c.c_m = 16, c.c_z = 12, c.c_hidden_msa = 8, c.heads_msa = 2, c.c_hidden_pair = 6, c.heads_pair = 2;
  c.c_hidden_mul = 12, c.c_hidden_opm = 4, c.blocks = 2, c.mask_transitions = true;
  Builder b(device, DType::f32, 1, parameters);
  std::vector<std::unique_ptr<EvoformerBlock>> blocks;
  {
    ModuleScope scope("blocks");
    for (int i = 0; i < 2; ++i) blocks.push_back(std::make_unique<EvoformerBlock>(b, std::to_string(i), c));
  }
  const fs::path path = kReference / "stack2.safetensors";
  EXPECT_NE(message({path, ""}).find("--weights-prefix: grad.param.blocks, param.blocks"), std::string::npos);
  EXPECT_NE(message({path, "blocks"}).find("it has grad.param.blocks, param.blocks"), std::string::npos);
  EXPECT_EQ(load_block_weights({path, "param.blocks"}, parameters).code, "OpenFold");
  const SafetensorsFile file = SafetensorsFile::open(path);
  autograd::NoGrad no_grad;
  const EvoformerInputs in{read(file, "in.msa_mask"), read(file, "in.pair_mask"), {}};
  TensorList mz{read(file, "in.m"), read(file, "in.z")};
  for (const auto& block : blocks) mz = (*block)(mz[0], mz[1], in);
  expect_near(mz[0], read(file, "out.m"));
  expect_near(mz[1], read(file, "out.z"));
}

TEST_F(BlockWeights, WhatDoesNotFitIsNamed) {
  pairformer(sizes(), device, 2);
  write_model({"pairformer_protenix_ones"}, "stack.blocks");
  EXPECT_NE(message({made, ""}).find("the file lacks blocks.1."), std::string::npos) << message({made, ""});
  write_model({"pairformer_protenix_ones", "pairformer_protenix_ones"}, "stack.blocks",
              "param.tri_mul_in.linear_z.weight");
  EXPECT_NE(message({made, ""}).find("the file lacks blocks.0.pair_stack.tri_mul_in.linear_z.weight"),
            std::string::npos)
      << message({made, ""});
  write_model({"pairformer_protenix_ones", "pairformer_protenix_holes"}, "stack.blocks");
  EXPECT_NE(message({made, ""}).find("shapes or types differ"), std::string::npos) << message({made, ""});
  EXPECT_NE(message({kReference / "sub_pair_transition.safetensors", ""}).find("no tensor of a block"),
            std::string::npos);
  EXPECT_NE(message({"nowhere.safetensors", ""}).find("nowhere"), std::string::npos);
}

TEST_F(BlockWeights, ADryRunChecksNamesAndShapes) {
  pairformer(sizes(), meta);
  write_model({"pairformer_protenix_ones"}, "stack.blocks");
  EXPECT_EQ(load_block_weights({made, ""}, parameters).n_tensors, 57);
  write_model({"pairformer_protenix_holes"}, "stack.blocks");
  EXPECT_NE(message({made, ""}).find("is the preset the right size?"), std::string::npos);
}

}  // namespace
}  // namespace reckon::models
