// Which tensor has this size: two messages from a public tracker are named, and
// what is not there is not invented.
#include "calculators/tensor_search.h"

#include <gtest/gtest.h>

#include "runtime/core/error.h"

namespace reckon::calculators {
namespace {

Recording extra_msa(int64_t rows, DType dtype, autograd::FusionSet fuse = {}) {
  ExtraMsaQuestion q;
  q.rows = rows;
  q.residues = 384;
  q.dtype = dtype;
  q.fuse = fuse;
  return record_extra_msa(q, DeviceSpec::this_machine());
}

TEST(TensorSearch, TheExtraMsaStackHasThePublishedParameters) {
  EXPECT_EQ(extra_msa(8, DType::f32).n_parameters, 4 * 701312);
}

TEST(TensorSearch, FourAndAHalfGiBAreTheRowLogitsOfTheExtraMsaStack) {
  const TensorSearch s = search_tensors(extra_msa(1024, DType::f32), parse_written_bytes("4.50 GiB", "SIZE"));
  ASSERT_FALSE(s.found.empty());
  const FoundTensor& f = s.found[0];
  EXPECT_EQ(f.bytes, int64_t{1024} * 8 * 384 * 384 * 4);
  EXPECT_EQ(f.op, "matmul");
  EXPECT_EQ(f.module, "extra_msa.*.msa_att_row.mha");
  ASSERT_TRUE(f.tensor.has_value());
  EXPECT_EQ(to_string(f.tensor->shape), "[1, 1024, 8, 384, 384]");
  EXPECT_EQ(f.tensor->dtype, DType::f32);
  EXPECT_EQ(f.phase, Phase::forward);
  EXPECT_EQ(f.category, Category::transient);
  for (const FoundTensor& other : s.found)
    EXPECT_EQ(other.module, f.module) << "nothing else in the stack has this size";
}

TEST(TensorSearch, ElevenAndAQuarterGiBAreTheSameLogitsOf5120RowsInHalfPrecision) {
  for (const DType half : {DType::bf16, DType::f16}) {
    const TensorSearch s = search_tensors(extra_msa(5120, half), parse_written_bytes("11.25 GiB", "SIZE"));
    ASSERT_FALSE(s.found.empty());
    EXPECT_EQ(s.found[0].bytes, int64_t{5120} * 8 * 384 * 384 * 2);
    EXPECT_EQ(s.found[0].op, "matmul");
    EXPECT_EQ(s.found[0].module, "extra_msa.*.msa_att_row.mha");
    EXPECT_EQ(s.found[0].tensor->dtype, half);
    EXPECT_EQ(to_string(s.found[0].tensor->shape), "[1, 5120, 8, 384, 384]");
  }
}

TEST(TensorSearch, FusedAttentionNeverMakesThem) {
  const TensorSearch s = search_tensors(extra_msa(1024, DType::f32, autograd::FusionSet::parse("attention")),
                                        parse_written_bytes("4.50 GiB", "SIZE"));
  EXPECT_TRUE(s.found.empty());
}

TEST(TensorSearch, WithFewerRowsTheSizeIsAMultipleOfTheSameTensor) {
  const TensorSearch s = search_tensors(extra_msa(128, DType::f32), parse_written_bytes("4.50 GiB", "SIZE"));
  EXPECT_TRUE(s.found.empty());
  bool named = false;
  for (const FoundTensor& f : s.multiples) {
    EXPECT_GE(f.multiple, 2);
    named = named || (f.multiple == 8 && f.module == "extra_msa.*.msa_att_row.mha" && f.op == "softmax");
  }
  EXPECT_TRUE(named);
}

TEST(TensorSearch, EveryAllocationOfATrainingStepIsFoundUnderItsOwnSize) {
  models::RunOptions o;
  o.family = "qwen";
  o.preset = "tiny";
  o.resolve();
  const Recording run = record_training(o, DeviceSpec::this_machine());
  int64_t checked = 0;
  for (const Event& e : run.events) {
    if (e.kind != EventKind::allocated || checked > 60) continue;
    ++checked;
    const TensorSearch s = search_tensors(run, parse_written_bytes(std::to_string(e.bytes), "SIZE"));
    ASSERT_FALSE(s.found.empty()) << e.bytes;
    int64_t count = 0;
    for (const FoundTensor& f : s.found) {
      EXPECT_EQ(f.bytes, e.bytes);
      if (f.tensor) {
        EXPECT_EQ(numel(f.tensor->shape) * static_cast<int64_t>(size_of(f.tensor->dtype)), f.bytes);
      }
      count += f.count;
    }
    int64_t same = 0;
    for (const Event& other : run.events) same += other.kind == EventKind::allocated && other.bytes == e.bytes;
    EXPECT_EQ(count, same) << "each one is counted once";
  }
  EXPECT_GT(checked, 50);
}

TEST(TensorSearch, AToleranceWidensTheSearch) {
  const Recording run = extra_msa(64, DType::f32);
  const WrittenBytes near = parse_written_bytes(std::to_string(int64_t{64} * 8 * 384 * 384 * 4 + 1000), "SIZE");
  EXPECT_TRUE(search_tensors(run, near).found.empty());
  EXPECT_FALSE(search_tensors(run, near, 0.01).found.empty());
  EXPECT_THROW(search_tensors(run, near, -1), Error);
  EXPECT_EQ(named_shape({1, 64, 384}, {{"rows", 64}, {"residues", 384}}), "1 x 64 (rows) x 384 (residues)");
}

TEST(TensorSearch, ImpossibleStacksAreRefused) {
  ExtraMsaQuestion q;
  q.rows = 0;
  EXPECT_THROW(record_extra_msa(q, DeviceSpec::this_machine()), Error);
  q.rows = int64_t{1} << 40;
  EXPECT_THROW(record_extra_msa(q, DeviceSpec::this_machine()), Error);
}

}  // namespace
}  // namespace reckon::calculators
