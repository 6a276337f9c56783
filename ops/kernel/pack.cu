// Two ways: where the source runs along the copy's last axis, fours of it; where it runs along another axis, tiles
// through shared memory, so that reads and writes both touch whole lines.
#include "ops/kernel/elements.cuh"
#include "ops/kernel/launch.cuh"
#include "ops/kernel/pack.h"

namespace reckon::ops::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int kTile = 64, kPitch = kTile + 1;  // a column of the tile lies in as many banks as it has elements

// Where element `i` of the copy lies in the source. Division by 32 bits where that is enough: it costs a fifth.
template <class I>
__device__ __forceinline__ int64_t source_of(const PackAxes& axes, int64_t i) {
  I rest = static_cast<I>(i);
  int64_t at = 0;
#pragma unroll
  for (int d = PackAxes::kMaxRank - 1; d > 0; --d) {
    if (d >= axes.rank) continue;
    const I size = static_cast<I>(axes.size[d]), quotient = rest / size;
    at += static_cast<int64_t>(rest - quotient * size) * axes.stride[d];
    rest = quotient;
  }
  return at + static_cast<int64_t>(rest) * axes.stride[0];
}

template <int kWidth>
__global__ void __launch_bounds__(kThreads) pack_along(Elements from, Elements to, PackAxes axes, int64_t n, bool wide) {
  const int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kWidth;
  if (i >= n) return;
  const int64_t at = wide ? source_of<int64_t>(axes, i) : source_of<unsigned>(axes, i);
  if constexpr (kWidth == 4) {
    float v[4];
    load4(from, at, v);
    store4(to, i, v);
  } else {
    store(to, i, load(from, at));
  }
}

// Tiles of two axes, `run` (the source's unit stride) and the copy's last; the others are counted by the block.
struct TileWalk {
  PackAxes axes;
  int64_t step[PackAxes::kMaxRank];  // of the copy
  int run;
  int64_t tiles_along, tiles_run;
};

__global__ void __launch_bounds__(kThreads) pack_transposed(Elements from, Elements to, TileWalk walk) {
  __shared__ float tile[kTile * kPitch];
  const PackAxes& axes = walk.axes;
  int64_t rest = blockIdx.x;
  const int64_t along = rest % walk.tiles_along * kTile;
  rest /= walk.tiles_along;
  const int64_t run = rest % walk.tiles_run * kTile;
  rest /= walk.tiles_run;
  int64_t source = run, place = along, n_run = 0, run_step = 0, n_along = 0, along_stride = 0;
#pragma unroll
  for (int d = PackAxes::kMaxRank - 1; d >= 0; --d) {
    if (d >= axes.rank) continue;
    if (d == axes.rank - 1) {
      n_along = axes.size[d];
      along_stride = axes.stride[d];
    } else if (d == walk.run) {
      n_run = axes.size[d];
      run_step = walk.step[d];
    } else {
      const int64_t quotient = rest / axes.size[d], index = rest - quotient * axes.size[d];
      source += index * axes.stride[d];
      place += index * walk.step[d];
      rest = quotient;
    }
  }
  source += along * along_stride;
  place += run * run_step;
  const int near = threadIdx.x % kTile, first = threadIdx.x / kTile;
  for (int far = first; far < kTile; far += kThreads / kTile)
    if (run + near < n_run && along + far < n_along) tile[far * kPitch + near] = load(from, source + far * along_stride + near);
  __syncthreads();
  for (int far = first; far < kTile; far += kThreads / kTile)
    if (along + near < n_along && run + far < n_run) store(to, place + far * run_step + near, tile[near * kPitch + far]);
}

bool fours_lie_together(const void* from, const void* to, const PackAxes& axes) {
  if (axes.rank == 0 || axes.stride[axes.rank - 1] != 1 || axes.size[axes.rank - 1] % 4 != 0) return false;
  for (int d = 0; d < axes.rank - 1; ++d)
    if (axes.stride[d] % 4 != 0) return false;
  return (reinterpret_cast<uintptr_t>(from) | reinterpret_cast<uintptr_t>(to)) % 16 == 0;
}

// The axis along which the source runs, when tiles pay; -1 when not. Below a quarter of a tile most threads would idle.
int run_axis(const PackAxes& axes) {
  constexpr int64_t least = kTile / 4;
  const int last = axes.rank - 1;
  if (last < 1 || axes.stride[last] == 1 || axes.size[last] < least) return -1;
  for (int d = 0; d < last; ++d)
    if (axes.stride[d] == 1 && axes.size[d] >= least) return d;
  return -1;
}

}  // namespace

void pack(const KernelArgs& args, int launch_index, const void* from, DType from_type, void* to, DType to_type, const PackAxes& axes) {
  const Elements source{const_cast<void*>(from), from_type}, copy{to, to_type};
  const int64_t n = axes.count();
  const int run = n > 0 ? run_axis(axes) : -1, last = axes.rank - 1;
  if (run >= 0) {
    TileWalk walk{.axes = axes, .step = {}, .run = run, .tiles_along = 0, .tiles_run = 0};
    for (int64_t d = last, step = 1; d >= 0; step *= axes.size[d--]) walk.step[d] = step;
    walk.tiles_along = (axes.size[last] + kTile - 1) / kTile;
    walk.tiles_run = (axes.size[run] + kTile - 1) / kTile;
    const int64_t outer = n / (axes.size[last] * axes.size[run]);
    launch(args, launch_index, pack_transposed, blocks_for(outer * walk.tiles_along * walk.tiles_run, 1), kThreads, 0, source, copy, walk);
    return;
  }
  const bool wide = n > 0xffffffffll;
  if (fours_lie_together(from, to, axes))
    launch(args, launch_index, pack_along<4>, blocks_for(n / 4, kThreads), kThreads, 0, source, copy, axes, n, wide);
  else
    launch(args, launch_index, pack_along<1>, blocks_for(n, kThreads), kThreads, 0, source, copy, axes, n, wide);
}

}  // namespace reckon::ops::gpu
