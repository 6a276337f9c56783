// What a GPU's products do about operands that a library does not take: against the CPU, and as planned.
#include <gtest/gtest.h>

#include <functional>

#include "ops/kernel/device_product.h"
#include "ops/linear/linear.h"
#include "ops/matmul/matmul.h"
#include "ops/op.h"
#include "simt/backend.h"
#include "tests/support/event_log.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

std::unique_ptr<Device> gpu() { return std::make_unique<Device>(DeviceKind::cuda, simt::spec(), DeviceOptions{}, simt::make_backend()); }
std::unique_ptr<Device> meta() { return std::make_unique<Device>(DeviceKind::meta, simt::spec()); }

using View = std::function<Tensor(const Tensor&)>;

struct Input {
  Shape shape;
  DType dtype = DType::f32;
  View view = [](const Tensor& t) { return t; };
};

Tensor make(Device& device, const Input& in, uint64_t seed) {
  const size_t n = static_cast<size_t>(numel(in.shape));
  std::vector<std::byte> bytes(n * size_of(in.dtype));
  uint64_t state = seed;
  for (size_t i = 0; i < n; ++i) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    const float v = static_cast<float>(static_cast<double>(state >> 33) / 4294967296.0 - 0.5);
    if (in.dtype == DType::f32) {
      std::memcpy(&bytes[i * 4], &v, 4);
    } else {
      const uint16_t bits = in.dtype == DType::bf16 ? f32_to_bf16(v) : f32_to_f16(v);
      std::memcpy(&bytes[i * 2], &bits, 2);
    }
  }
  return in.view(Tensor::from_host(device, in.shape, in.dtype, bytes.data(), bytes.size(), Category::input, "x"));
}

std::vector<double> host_values(const Tensor& t, Device& cpu) {
  const std::vector<std::byte> bytes = t.to_host();
  return to_doubles(Tensor::from_host(cpu, t.shape(), t.dtype(), bytes.data(), bytes.size(), Category::input, "copy"));
}

struct Work {
  int64_t kernels = 0, library_calls = 0;
};

// The op on the emulated GPU gives what the CPU gives, with the events of its dry run.
Work agrees(const char* op_name, const std::vector<Input>& inputs) {
  const ops::OpDef& op = ops::op_by_name(op_name);
  const auto on_gpu = gpu(), cpu = make_device(DeviceKind::cpu), dry = meta();
  const auto run = [&](Device& device) {
    TensorList list;
    for (size_t i = 0; i < inputs.size(); ++i) list.push_back(make(device, inputs[i], 11 + i));
    if (list.size() < 3 && op.name == std::string("linear")) list.push_back({});
    return ops::dispatch(op, list)[0];
  };
  EventLog executed, predicted;
  on_gpu->add_sink(&executed);
  dry->add_sink(&predicted);
  const Tensor got = run(*on_gpu), expected = run(*cpu);
  const Tensor kept = run(*dry);
  EXPECT_EQ(first_difference(predicted.events, executed.events), "");
  EXPECT_EQ(got.dtype(), expected.dtype());
  EXPECT_EQ(got.shape(), expected.shape());
  if (got.numel() > 0) {
    EXPECT_LE(relative_error(host_values(got, *cpu), to_doubles(expected)), tolerance(got.dtype()));
  }
  Work w;
  for (const Event& e : executed.events) {
    if (e.kind != EventKind::launched) continue;
    w.kernels += e.launch == LaunchKind::kernel;
    w.library_calls += e.launch == LaunchKind::library;
  }
  return w;
}

View permuted(Dims axes) {
  return [axes](const Tensor& t) { return t.permuted(axes); };
}

TEST(DeviceProduct, MixedTypesAreConvertedIntoWorkspaces) {
  for (auto [a, b] : {std::pair{DType::bf16, DType::f32}, {DType::f32, DType::f16}, {DType::bf16, DType::f16}}) {
    const Work w = agrees("matmul", {{{33, 70}, a}, {{70, 65}, b}});
    EXPECT_EQ(w.library_calls, 1);
    EXPECT_EQ(w.kernels, (a != DType::f32) + (b != DType::f32));
  }
}

TEST(DeviceProduct, LinearConvertsOperandsAndBias) {
  EXPECT_EQ(agrees("linear", {{{5, 64}, DType::bf16}, {{31, 64}, DType::bf16}, {{31}, DType::f32}}).kernels, 1);
  EXPECT_EQ(agrees("linear", {{{5, 64}, DType::f32}, {{32, 64}, DType::bf16}, {{32}, DType::bf16}}).kernels, 2);
  EXPECT_EQ(agrees("linear", {{{2, 3, 64}, DType::f32}, {{32, 64}, DType::f32}}).kernels, 0);
}

TEST(DeviceProduct, OperandsWithoutAUnitStrideArePacked) {
  // [i, k, c] as [c, i, k]: the source runs along the batch, so that tiles turn it. Odd extents, and small ones.
  for (auto [i, k, c] : {std::array{70L, 33L, 66L}, {3L, 5L, 7L}, {1L, 200L, 31L}, {65L, 64L, 16L}}) {
    const Work w = agrees("matmul", {{{i, k, c}, DType::bf16, permuted({2, 0, 1})}, {{k, 9, c}, DType::bf16, permuted({2, 0, 1})}});
    EXPECT_EQ(w.library_calls, 1);
    // A single row is a dense column apart from the next.
    EXPECT_EQ(w.kernels, i == 1 ? 1 : 2);
  }
}

TEST(DeviceProduct, OperandsThatOverlapThemselvesArePacked) {
  const View rows = [](const Tensor& t) { return t.expanded({12, 40}); };
  EXPECT_EQ(agrees("matmul", {{{1, 40}, DType::f32, rows}, {{40, 8}}}).kernels, 1);
}

TEST(DeviceProduct, ABatchOverASharedMatrixIsOneProduct) {
  const Work w = agrees("matmul", {{{3, 4, 5, 16}}, {{16, 8}}});
  EXPECT_EQ(w.kernels, 0);
  EXPECT_EQ(w.library_calls, 1);
  const ops::GemmProblem p{.m = 5, .n = 8, .k = 16, .a = {nullptr, DType::f32, 16, 1}, .b = {nullptr, DType::f32, 8, 1}, .c_row_stride = 8, .c_col_stride = 1};
  const ops::gpu::ProductSteps s = ops::gpu::product_steps(p, {.rank = 1, .size = {12}, .a_stride = {80}, .b_stride = {0}, .c_stride = {40}});
  EXPECT_EQ(s.call.problem.m, 60);
  EXPECT_EQ(s.call.batch.rank, 0);
}

TEST(DeviceProduct, VectorsOverASharedMatrixAreItsRows) {
  const Work w = agrees("matmul", {{{6, 16, 7}, DType::f32, permuted({0, 2, 1})}, {{16, 8}}});
  EXPECT_EQ(w.library_calls, 1);
  const View row = [](const Tensor& t) { return t.sliced(1, 2, 3); };
  EXPECT_EQ(agrees("matmul", {{{6, 4, 16}, DType::f32, row}, {{16, 8}}}).library_calls, 1);
}

TEST(DeviceProduct, AFewIrregularProductsAreLibraryCallsOverTheLongestAxis) {
  // Heads of attention: [sequences, positions, heads, channels] as [sequences, heads, positions, channels].
  const Input q{{20, 6, 3, 8}, DType::f32, permuted({0, 2, 1, 3})}, k{{20, 6, 3, 8}, DType::f32, permuted({0, 2, 3, 1})};
  const Work w = agrees("matmul", {q, k});
  EXPECT_EQ(w.kernels, 0);
  EXPECT_EQ(w.library_calls, 3);
}

TEST(DeviceProduct, ManyIrregularProductsArePackedIntoOneCall) {
  const Input q{{10, 6, 9, 8}, DType::bf16, permuted({0, 2, 1, 3})}, k{{10, 6, 9, 8}, DType::bf16, permuted({0, 2, 3, 1})};
  const Work w = agrees("matmul", {q, k});
  EXPECT_EQ(w.kernels, 2);
  EXPECT_EQ(w.library_calls, 1);
  // One operand steps as one already.
  const Work one = agrees("matmul", {{{10, 9, 4, 6}}, {{10, 6, 9, 8}, DType::f32, permuted({0, 2, 1, 3})}});
  EXPECT_EQ(one.kernels, 1);
  EXPECT_EQ(one.library_calls, 1);
}

TEST(DeviceProduct, BroadcastBatchesStayUnmaterialised) {
  // Grouped queries: 4 heads of queries share one of keys, so they are its rows.
  Work w = agrees("matmul", {{{3, 2, 4, 5, 8}}, {{3, 2, 1, 8, 6}}});
  EXPECT_EQ(w.kernels, 0);
  EXPECT_EQ(w.library_calls, 1);
  w = agrees("matmul", {{{1, 12, 5, 8}}, {{12, 1, 8, 6}}});
  EXPECT_EQ(w.kernels, 0);
  EXPECT_EQ(w.library_calls, 1);
  // Only the distinct products of an operand are converted.
  w = agrees("matmul", {{{1, 3, 5, 8}, DType::bf16}, {{12, 1, 8, 6}, DType::f32}});
  EXPECT_EQ(w.kernels, 1);
  EXPECT_EQ(w.library_calls, 1);
  // Nothing shared folds here: the first operand differs along both axes, the second along the outer one.
  w = agrees("matmul", {{{4, 7, 8, 5}, DType::f32, permuted({0, 1, 3, 2})}, {{4, 1, 8, 6}}});
  EXPECT_EQ(w.kernels, 0);
  EXPECT_EQ(w.library_calls, 4);
  w = agrees("matmul", {{{9, 10, 8, 5}, DType::f32, permuted({0, 1, 3, 2})}, {{9, 1, 8, 6}}});
  EXPECT_EQ(w.kernels, 1);
  EXPECT_EQ(w.library_calls, 1);
}

TEST(DeviceProduct, EmptyOperandsMakeThePlannedWork) {
  agrees("matmul", {{{0, 7}}, {{7, 3}}});
  agrees("matmul", {{{5, 0}}, {{0, 3}}});
  agrees("matmul", {{{0, 5, 4}}, {{0, 4, 3}}});
  agrees("matmul", {{{5, 7}, DType::bf16}, {{7, 0}, DType::f32}});
  agrees("linear", {{{0, 7}}, {{3, 7}}, {{3}}});
}

TEST(DeviceProduct, MisalignedViewsArePackedElementByElement) {
  const View tail = [](const Tensor& t) { return t.sliced(1, 1, 65); };
  EXPECT_EQ(agrees("matmul", {{{33, 70}, DType::bf16, tail}, {{64, 65}, DType::f32}}).kernels, 1);
  const View aligned = [](const Tensor& t) { return t.sliced(1, 0, 64); };
  EXPECT_EQ(agrees("matmul", {{{33, 72}, DType::bf16, aligned}, {{64, 65}, DType::f32}}).kernels, 1);
}

}  // namespace
}  // namespace reckon::testing
