// Rows of up to kRegisterColumns logits stay in registers, several in a block where they are narrow; a wider
// one is a block's, which reads it once. Values cannot be checked here: a target that is no class makes its
// row's loss and gradient NaN, where the CPU raises an error.
#include "ops/cross_entropy/cross_entropy_attrs.h"
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/launch.cuh"
#include "ops/kernel/gpu/row_softmax.cuh"

namespace reckon::ops::gpu {
namespace {

constexpr int kReduceThreads = 1024;

struct Rows {
  Elements logits;  // [rows, c]
  const long long* targets;
  int64_t rows, c;
  long long ignored;
  bool fours;

  __device__ __forceinline__ bool is_class(long long target) const { return target >= 0 && target < c; }
};

// Of one row, by one thread.
__device__ __forceinline__ void write_loss(const Rows& p, int64_t row, const ExpSum& s, float* losses,
                                           float* statistics) {
  const long long target = p.targets[row];
  const float log_sum = logf(s.finite_sum());
  const bool ignored = target == p.ignored;
  statistics[row] = ignored ? 0.0f : s.top, statistics[p.rows + row] = ignored ? 0.0f : log_sum;
  // The difference of two large logits is exact, their sum with the logarithm is not.
  if (ignored)
    losses[row] = 0.0f;
  else
    losses[row] = p.is_class(target) ? (s.top - load(p.logits, row * p.c + target)) + log_sum : NAN;
}

template <class Tile>
__global__ void __launch_bounds__(kRowThreads)
    cross_entropy_registers(Rows p, float* losses, float* statistics) {
  __shared__ float cells[32];
  const Tile t = Tile::of_block(int64_t{blockIdx.x} * Tile::kRowsPerBlock, p.rows, p.c, p.fours);
  typename Tile::Values v;
  t.load(p.logits, -INFINITY, v);
  ExpSum sums[Tile::kRows];
  tile_exp_sums(t, v, sums, cells);
#pragma unroll
  for (int r = 0; r < Tile::kRows; ++r)
    if (t.lane == 0 && r < t.rows) write_loss(p, t.row + r * t.step, sums[r], losses, statistics);
}

__global__ void __launch_bounds__(kWideRowThreads)
    cross_entropy_wide(Rows p, float* losses, float* statistics) {
  __shared__ float cells[32];
  const int64_t row = blockIdx.x;
  if (row >= p.rows) return;
  ExpSum s{0.0f, 1.0f};
  if (p.targets[row] != p.ignored) s = wide_row_exp_sum(p.logits, row, p.c, p.fours, cells);
  if (threadIdx.x == 0) write_loss(p, row, s, losses, statistics);
}

// By one block; every thread gets the result.
__device__ __forceinline__ float counted_targets(const long long* targets, int64_t rows, long long ignored) {
  __shared__ unsigned long long total;
  if (threadIdx.x == 0) total = 0;
  __syncthreads();
  unsigned long long own = 0;
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < rows; i += kReduceThreads) own += targets[i] != ignored;
  atomicAdd(&total, own);
  __syncthreads();
  return static_cast<float>(total);
}

__global__ void __launch_bounds__(kReduceThreads)
    cross_entropy_reduce(const float* losses, const long long* targets, int64_t rows, long long ignored,
                         bool mean, float* loss) {
  __shared__ float cells[32];
  float sum = 0;
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < rows; i += kReduceThreads) sum += losses[i];
  sum = block_sum(sum, cells);
  if (mean) sum /= counted_targets(targets, rows, ignored);
  if (threadIdx.x == 0) *loss = sum;
}

__global__ void __launch_bounds__(kReduceThreads)
    cross_entropy_scale(Elements g, const long long* targets, int64_t rows, long long ignored, float* scale) {
  const float count = counted_targets(targets, rows, ignored);
  if (threadIdx.x == 0) *scale = load(g, 0) / count;
}

// What the gradient of a row is multiplied with: one number for all rows, or one each.
struct Scale {
  Elements of;
  bool per_row;

  __device__ __forceinline__ float operator()(int64_t row) const { return load(of, per_row ? row : 0); }
};

// dlogits = (exp((logits - maximum) - log of the sum) - [column is the target]) scale, over a tile; 0 in ignored rows.
template <class Tile>
__device__ __forceinline__ void write_gradient(const Rows& p, const Tile& t, const float* statistics,
                                               const Scale& scale, const Elements& dx) {
  typename Tile::Values v;
  t.load(p.logits, 0.0f, v);
#pragma unroll
  for (int r = 0; r < Tile::kRows; ++r) {
    if (r >= t.rows) continue;
    const int64_t row = t.row + r * t.step;
    const long long target = p.targets[row];
    if (target == p.ignored) {
      t.each_in_row([&](int k, int i) { v[r][k][i] = 0.0f; });
      continue;
    }
    const float s = p.is_class(target) ? scale(row) : NAN, top = statistics[row],
                log_sum = statistics[p.rows + row];
    t.each_in_row([&](int k, int i) {
      v[r][k][i] = expf((v[r][k][i] - top) - log_sum) * s;
      if (t.start + t.column(k, i) == target) v[r][k][i] -= s;
    });
  }
  t.store(dx, v);
}

template <class Tile>
__global__ void __launch_bounds__(kRowThreads)
    cross_entropy_backward_registers(Rows p, const float* statistics, Scale scale, Elements dx) {
  write_gradient(p, Tile::of_block(int64_t{blockIdx.x} * Tile::kRowsPerBlock, p.rows, p.c, p.fours), statistics,
                 scale, dx);
}

__global__ void __launch_bounds__(kWideRowThreads)
    cross_entropy_backward_wide(Rows p, const float* statistics, Scale scale, Elements dx) {
  const int64_t row = blockIdx.x;
  if (row >= p.rows) return;
  for (int64_t j = 0; j < p.c; j += WideRowTile::kWidth)
    write_gradient(p, WideRowTile::of_row(row, p.c, j, p.fours), statistics, scale, dx);
}

Rows rows_of(const TensorArg& logits, const TensorArg& targets, const CrossEntropyAttrs& t) {
  return {.logits = elements(logits),
          .targets = targets.as<long long>(),
          .rows = targets.numel(),
          .c = logits.last(),
          .ignored = t.ignore_index,
          .fours = takes_fours(logits, logits.last())};
}

void cross_entropy_gpu(KernelArgs& a) {
  const auto& t = a.as<CrossEntropyAttrs>();
  const Rows p = rows_of(a.in[CrossEntropyInput::logits], a.in[CrossEntropyInput::targets], t);
  const bool reduced = t.reduction != Reduction::none;
  auto *loss = a.out[CrossEntropyOutput::loss].as<float>(),
       *statistics = a.out[CrossEntropyOutput::statistics].as<float>();
  float* losses = reduced ? reinterpret_cast<float*>(a.workspace[0]) : loss;
  if (p.c > kRegisterColumns) {
    launch(a, 0, cross_entropy_wide, blocks_for(p.rows, 1), kWideRowThreads, 0, p, losses, statistics);
  } else {
    with_row_tile(p.c, [&](auto tile) {
      using Tile = decltype(tile);
      launch(a, 0, cross_entropy_registers<Tile>, blocks_for(p.rows, Tile::kRowsPerBlock), kRowThreads, 0, p,
             losses, statistics);
    });
  }
  if (reduced)
    launch(a, 1, cross_entropy_reduce, 1, kReduceThreads, 0, losses, p.targets, p.rows, p.ignored,
           t.reduction == Reduction::mean, loss);
}

// The mean's scale, g over the number of counted targets, is a launch of its own.
void cross_entropy_backward_gpu(KernelArgs& a) {
  const auto& t = a.as<CrossEntropyAttrs>();
  using In = CrossEntropyBackwardInput;
  Rows p = rows_of(a.in[In::logits], a.in[In::targets], t);
  p.fours = p.fours && takes_fours(a.out[0], p.c);
  const Elements dx = elements(a.out[0]);
  const auto* statistics = a.in[In::statistics].as<float>();
  Scale scale{elements(a.in[In::dloss]), t.reduction == Reduction::none};
  int next = 0;
  if (t.reduction == Reduction::mean) {
    auto* shared_scale = reinterpret_cast<float*>(a.workspace[0]);
    launch(a, next++, cross_entropy_scale, 1, kReduceThreads, 0, scale.of, p.targets, p.rows, p.ignored,
           shared_scale);
    scale.of = {shared_scale, DType::f32};
  }
  if (p.c > kRegisterColumns)
    return launch(a, next, cross_entropy_backward_wide, blocks_for(p.rows, 1), kWideRowThreads, 0, p,
                  statistics, scale, dx);
  with_row_tile(p.c, [&](auto tile) {
    using Tile = decltype(tile);
    launch(a, next, cross_entropy_backward_registers<Tile>, blocks_for(p.rows, Tile::kRowsPerBlock),
           kRowThreads, 0, p, statistics, scale, dx);
  });
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(cross_entropy) {
  return {{"cross_entropy", cross_entropy_gpu}, {"cross_entropy_backward", cross_entropy_backward_gpu}};
}
