// Sums over any axes of any strided tensor. Where the terms of a result are neighbours, a group of
// lanes runs along them; where the results are, it runs along those, and strands of such groups go down
// the terms. Pieces: see SumWalk.
#include "ops/kernel/gpu/fours.cuh"
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/piece_sums.cuh"
#include "ops/sum/sum_attrs.h"
#include "ops/sum/sum_axes.h"

namespace reckon::ops::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int kAtOnce = 4;  // fours of a thread under way

struct SumJob {
  Elements x, to;  // to: [pieces, n_out]
  SumAxes kept, reduced;
  int64_t n_out, n_reduced, pieces, piece;
  float divisor;                // 1 where pieces are still to be added up
  int64_t inner, inner_stride;  // across: the last kept axis, which `kept` is without
  int lane_bits;                // log2 of the lanes of a group
  int strand_bits;              // across: log2 of the strands that share a tile of results
  bool fours;
};

// Job o + n_out p: the terms of piece p of result o. A group is up to a warp, or the block.
__global__ void __launch_bounds__(kThreads) sum_along(SumJob p) {
  __shared__ float cells[32];
  if (p.n_out == 0) return;
  const int lanes = 1 << p.lane_bits, lane = threadIdx.x & (lanes - 1);
  const int64_t job = (int64_t{blockIdx.x} * kThreads + threadIdx.x) >> p.lane_bits;
  const bool exists = job < p.n_out * p.pieces;
  const int64_t first = exists ? job / p.n_out * p.piece : p.n_reduced;
  const int64_t last = first + p.piece < p.n_reduced ? first + p.piece : p.n_reduced;
  const int64_t base = exists ? p.kept.offset(job % p.n_out) : 0;
  float sum = 0;
  if (p.fours) {
    for (int64_t i = first + lane * 4; i < last; i += lanes * 4 * kAtOnce) {
      RawFour raw[kAtOnce];
#pragma unroll
      for (int u = 0; u < kAtOnce; ++u)
        if (i + u * lanes * 4 < last) raw[u] = issue_four(p.x, base + p.reduced.offset(i + u * lanes * 4));
#pragma unroll
      for (int u = 0; u < kAtOnce; ++u) {
        float v[4];
        four_values(raw[u], p.x.dtype, v);
        sum += (v[0] + v[1]) + (v[2] + v[3]);
      }
    }
  } else {
    for (int64_t i = first + lane; i < last; i += lanes) sum += load(p.x, base + p.reduced.offset(i));
  }
  if (lanes > 32)
    sum = block_sum(sum, cells);
  else
    for (int d = lanes / 2; d > 0; d /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, d);
  if (exists && lane == 0) store(p.to, job, sum / p.divisor);
}

// A job is a tile of four results per lane, of one outer index and one piece.
__global__ void __launch_bounds__(kThreads) sum_across(SumJob p) {
  __shared__ float cells[kThreads][4];
  if (p.n_out == 0) return;
  const int lanes = 1 << p.lane_bits, lane = threadIdx.x & (lanes - 1);
  const int strands = 1 << p.strand_bits, strand = (threadIdx.x >> p.lane_bits) & (strands - 1);
  const int64_t job = (int64_t{blockIdx.x} * kThreads + threadIdx.x) >> (p.lane_bits + p.strand_bits);
  const int64_t tiles = (p.inner + lanes * 4 - 1) / (lanes * 4), start = job % tiles * lanes * 4;
  const int64_t piece = job / tiles % p.pieces, outer = job / tiles / p.pieces;
  const bool exists = outer * p.inner < p.n_out;
  const int64_t first = exists ? piece * p.piece : p.n_reduced;
  const int64_t last = first + p.piece < p.n_reduced ? first + p.piece : p.n_reduced;
  // In fours a lane has neighbouring results, else every lanes-th.
  const int apart = p.fours ? 1 : lanes;
  const int64_t column = start + (p.fours ? lane * 4 : lane);
  const int64_t base = (exists ? p.kept.offset(outer) : 0) + column * p.inner_stride;
  float sums[4] = {};
  if (p.fours) {
    for (int64_t i = first + strand; i < last && column < p.inner; i += strands * kAtOnce) {
      RawFour raw[kAtOnce];
#pragma unroll
      for (int u = 0; u < kAtOnce; ++u)
        if (i + u * strands < last) raw[u] = issue_four(p.x, base + p.reduced.offset(i + u * strands));
#pragma unroll
      for (int u = 0; u < kAtOnce; ++u) {
        float v[4];
        four_values(raw[u], p.x.dtype, v);
#pragma unroll
        for (int k = 0; k < 4; ++k) sums[k] += v[k];
      }
    }
  } else {
    for (int64_t i = first + strand; i < last; i += strands) {
      const int64_t at = base + p.reduced.offset(i);
#pragma unroll
      for (int k = 0; k < 4; ++k)
        if (column + k * apart < p.inner) sums[k] += load(p.x, at + k * apart * p.inner_stride);
    }
  }
  for (int s = strands / 2; s > 0; s /= 2) {
#pragma unroll
    for (int k = 0; k < 4; ++k) cells[threadIdx.x][k] = sums[k];
    __syncthreads();
    if (strand < s)
#pragma unroll
      for (int k = 0; k < 4; ++k) sums[k] += cells[threadIdx.x + s * lanes][k];
    __syncthreads();
  }
  if (!exists || strand != 0) return;
#pragma unroll
  for (int k = 0; k < 4; ++k)
    if (column + k * apart < p.inner)
      store(p.to, piece * p.n_out + outer * p.inner + column + k * apart, sums[k] / p.divisor);
}

// The least n with 2^n >= count, at most `most`.
int bits_for(int64_t count, int most) {
  int bits = 0;
  while (bits < most && (int64_t{1} << bits) < count) ++bits;
  return bits;
}

// Whether all strides but the walk's unit one keep fours aligned.
bool strides_take_fours(const SumAxes& unit, const SumAxes& other) {
  if (unit.n == 0 || unit.stride[unit.n - 1] != 1 || unit.extent[unit.n - 1] % 4 != 0) return false;
  for (int i = 0; i + 1 < unit.n; ++i)
    if (unit.stride[i] % 4 != 0) return false;
  for (int i = 0; i < other.n; ++i)
    if (other.stride[i] % 4 != 0) return false;
  return true;
}

void sum_gpu(KernelArgs& a) {
  const TensorArg &x = a.in[0], &y = a.out[0];
  const SumWalk w = sum_walk(x.rank, x.shape, x.strides, a.as<SumAttrs>().axes);
  SumJob p{.x = elements(x),
           .to = elements(y),
           .kept = w.kept,
           .reduced = w.reduced,
           .n_out = w.n_out,
           .n_reduced = w.n_reduced,
           .pieces = w.pieces(),
           .piece = w.piece(),
           .divisor = 1,
           .inner = 1,
           .inner_stride = 0,
           .lane_bits = 0,
           .strand_bits = 0,
           .fours = takes_fours(x, 4) &&
                    strides_take_fours(w.along ? w.reduced : w.kept, w.along ? w.kept : w.reduced)};
  const auto divisor = static_cast<float>(a.as<SumAttrs>().divisor);
  if (p.pieces == 1) p.divisor = divisor;
  auto* partial = p.pieces > 1 ? reinterpret_cast<float*>(a.workspace[0]) : nullptr;
  if (partial) p.to = {partial, DType::f32};
  if (w.along) {
    p.lane_bits = p.piece > 2048 ? 8 : bits_for((p.piece + 3) / 4, 5);
    launch(a, 0, sum_along, blocks_for(p.n_out * p.pieces, kThreads >> p.lane_bits), kThreads, 0, p);
  } else {
    if (p.kept.n > 0) {
      p.inner = p.kept.extent[--p.kept.n];
      p.inner_stride = p.kept.stride[p.kept.n];
    }
    p.lane_bits = bits_for((p.inner + 3) / 4, 5);
    p.strand_bits = bits_for((p.piece + kAtOnce - 1) / kAtOnce, 8 - p.lane_bits);
    const int64_t tile = int64_t{4} << p.lane_bits, tiles = (p.inner + tile - 1) / tile;
    const int64_t jobs = p.n_out > 0 ? p.n_out / p.inner * tiles * p.pieces : 0;
    launch(a, 0, sum_across, blocks_for(jobs, kThreads >> (p.lane_bits + p.strand_bits)), kThreads, 0, p);
  }
  if (partial) launch_sum_pieces(a, 1, partial, elements(y), {}, p.pieces, p.n_out, p.n_out, divisor);
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(sum) { return {{"sum", sum_gpu}}; }
