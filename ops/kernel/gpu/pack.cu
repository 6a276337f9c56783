// Same types: a copy of bytes, in the widest word and through tiles (strided_copy.cuh). Else a conversion
// through f32, fours of neighbours where they lie together.
#include "ops/kernel/gpu/elements.cuh"
#include "ops/kernel/gpu/strided_copy.cuh"
#include "ops/kernel/plan/pack.h"

namespace reckon::ops::gpu {
namespace {

constexpr int kThreads = 256;

// The walk counts groups of kWidth neighbours.
template <int kWidth>
__global__ void __launch_bounds__(kThreads)
    convert_packed(Elements from, Elements to, const __grid_constant__ Walk<1> walk) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= walk.count) return;
  int64_t at[1];
  walk.offsets(i, at);
  if constexpr (kWidth == 4) {
    float v[4];
    load4(from, at[0] * 4, v);
    store4(to, i * 4, v);
  } else {
    store(to, i, load(from, at[0]));
  }
}

bool fours_lie_together(const void* from, const void* to, const PackAxes& axes) {
  if (axes.rank == 0 || axes.stride[axes.rank - 1] != 1 || axes.size[axes.rank - 1] % 4 != 0) return false;
  for (int d = 0; d < axes.rank - 1; ++d)
    if (axes.stride[d] % 4 != 0) return false;
  return (reinterpret_cast<uintptr_t>(from) | reinterpret_cast<uintptr_t>(to)) % 16 == 0;
}

}  // namespace

void pack(const KernelArgs& args, int launch_index, const void* from, DType from_type, void* to, DType to_type,
          const PackAxes& axes) {
  if (from_type == to_type) {
    int64_t steps[PackAxes::kMaxRank] = {};
    for (int64_t d = axes.rank - 1, step = 1; d >= 0; step *= axes.size[d--]) steps[d] = step;
    launch_copy(
        args, launch_index,
        copy_in_bytes(axes.rank, axes.size, static_cast<int64_t>(size_of(from_type)),
                      static_cast<const std::byte*>(from), axes.stride, static_cast<std::byte*>(to), steps));
    return;
  }
  int64_t size[kMaxRank] = {}, stride[1][kMaxRank] = {};
  const bool fours = fours_lie_together(from, to, axes);
  for (int d = 0; d < axes.rank; ++d) {
    const bool last = d == axes.rank - 1;
    size[d] = fours && last ? axes.size[d] / 4 : axes.size[d];
    stride[0][d] = fours && !last ? axes.stride[d] / 4 : axes.stride[d];
  }
  const Walk<1> walk = merged_walk<1>(axes.rank, size, stride);
  const Elements source{const_cast<void*>(from), from_type}, copy{to, to_type};
  if (fours)
    launch(args, launch_index, convert_packed<4>, blocks_for(walk.count, kThreads), kThreads, 0, source, copy,
           walk);
  else
    launch(args, launch_index, convert_packed<1>, blocks_for(walk.count, kThreads), kThreads, 0, source, copy,
           walk);
}

}  // namespace reckon::ops::gpu
