// One kernel shape for every elementwise op: outputs are contiguous and of one shape, inputs broadcast to it
// with any strides and types, the function computes in f32. Where each operand steps by 1 or 0 along the merged
// innermost axis, threads take groups of four; else single elements.
//
// The function object is called per element, as y = f(x), f(x, z), f(x, z, u) or f(x, z, u, &y, &w). One that
// needs the element's number has a member type `Grouped` and
//   template <int N> void group(int64_t first, const float (&in)[NIN][N], float (&out)[NOUT][N]) const;
// with N = 4 or 1. A member `bool start()` runs first, for what all elements share in device memory; false
// leaves the outputs as they are.
#pragma once

#include "ops/kernel/gpu/bits.cuh"
#include "ops/kernel/gpu/launch.cuh"
#include "ops/kernel/gpu/walk.cuh"

namespace reckon::ops::gpu {

inline constexpr int kElementThreads = 256;

template <int NIN, int NOUT>
struct Operands {
  Elements in[NIN], out[NOUT];
  bool repeats[NIN] = {};  // one element for a whole group
  int tail = 0;            // elements after the last whole group
};

template <int N, int NIN, int NOUT, class F>
__device__ __forceinline__ void apply(const F& f, int64_t first, const float (&in)[NIN][N],
                                      float (&out)[NOUT][N]) {
  if constexpr (requires { typename F::Grouped; }) {
    f.template group<N>(first, in, out);
  } else {
#pragma unroll
    for (int k = 0; k < N; ++k) {
      if constexpr (NIN == 1 && NOUT == 1)
        out[0][k] = f(in[0][k]);
      else if constexpr (NIN == 2 && NOUT == 1)
        out[0][k] = f(in[0][k], in[1][k]);
      else if constexpr (NIN == 3 && NOUT == 1)
        out[0][k] = f(in[0][k], in[1][k], in[2][k]);
      else
        f(in[0][k], in[1][k], in[2][k], &out[0][k], &out[1][k]);
    }
  }
}

template <class F>
__device__ __forceinline__ bool starts(F& f) {
  if constexpr (requires { f.start(); })
    return f.start();
  else
    return true;
}

// The walk counts groups.
template <int NIN, int NOUT, class F>
__global__ void __launch_bounds__(kElementThreads)
    elementwise_fours(const __grid_constant__ Operands<NIN, NOUT> t, const __grid_constant__ Walk<NIN> walk,
                      F f) {
  constexpr int kGroups = NIN == 1 ? 4 : 2;
  if (!starts(f)) return;
  const int64_t first = int64_t{blockIdx.x} * (kElementThreads * kGroups) + threadIdx.x;
  uint4 bits[kGroups][NIN];
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    const int64_t i = first + g * kElementThreads;
    if (i >= walk.count) break;
    int64_t at[NIN];
    walk.offsets(i, at);
#pragma unroll
    for (int k = 0; k < NIN; ++k) {
      if (t.repeats[k]) {
        const uint2 one = load_bits1(t.in[k], at[k]);
        bits[g][k].x = one.x, bits[g][k].y = one.y;
      } else {
        bits[g][k] = load_bits4(t.in[k], at[k]);
      }
    }
  }
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    const int64_t i = first + g * kElementThreads;
    if (i >= walk.count) break;
    float in[NIN][4], out[NOUT][4];
#pragma unroll
    for (int k = 0; k < NIN; ++k) {
      if (t.repeats[k]) {
        in[k][0] = to_float(t.in[k].dtype, make_uint2(bits[g][k].x, bits[g][k].y));
        in[k][1] = in[k][2] = in[k][3] = in[k][0];
      } else {
        to_floats(t.in[k].dtype, bits[g][k], in[k]);
      }
    }
    apply<4>(f, 4 * i, in, out);
#pragma unroll
    for (int k = 0; k < NOUT; ++k) store4(t.out[k], 4 * i, out[k]);
  }
  if (blockIdx.x + 1 == gridDim.x && threadIdx.x < t.tail) {
    const int64_t i = 4 * walk.count + threadIdx.x;
    float in[NIN][1], out[NOUT][1];
#pragma unroll
    for (int k = 0; k < NIN; ++k) in[k][0] = load(t.in[k], t.repeats[k] ? 0 : i);
    apply<1>(f, i, in, out);
#pragma unroll
    for (int k = 0; k < NOUT; ++k) store(t.out[k], i, out[k][0]);
  }
}

// The walk counts elements.
template <int NIN, int NOUT, class F>
__global__ void __launch_bounds__(kElementThreads)
    elementwise_ones(const __grid_constant__ Operands<NIN, NOUT> t, const __grid_constant__ Walk<NIN> walk,
                     F f) {
  constexpr int kItems = 4;
  if (!starts(f)) return;
  const int64_t first = int64_t{blockIdx.x} * (kElementThreads * kItems) + threadIdx.x;
  uint2 bits[kItems][NIN];
#pragma unroll
  for (int g = 0; g < kItems; ++g) {
    const int64_t i = first + g * kElementThreads;
    if (i >= walk.count) break;
    int64_t at[NIN];
    walk.offsets(i, at);
#pragma unroll
    for (int k = 0; k < NIN; ++k) bits[g][k] = load_bits1(t.in[k], at[k]);
  }
#pragma unroll
  for (int g = 0; g < kItems; ++g) {
    const int64_t i = first + g * kElementThreads;
    if (i >= walk.count) break;
    float in[NIN][1], out[NOUT][1];
#pragma unroll
    for (int k = 0; k < NIN; ++k) in[k][0] = to_float(t.in[k].dtype, bits[g][k]);
    apply<1>(f, i, in, out);
#pragma unroll
    for (int k = 0; k < NOUT; ++k) store(t.out[k], i, out[k][0]);
  }
}

// Launch `index` of the plan: out = f(in), over the shape of out[0].
template <int NIN, int NOUT, class F>
void elementwise(const KernelArgs& a, int index, const TensorArg* in, const TensorArg* out, F f) {
  Operands<NIN, NOUT> t;
  int64_t strides[NIN][kMaxRank] = {};
  for (int k = 0; k < NIN; ++k) {
    t.in[k] = elements(in[k]);
    const int lead = out[0].rank - in[k].rank;
    for (int d = lead; d < out[0].rank; ++d)
      strides[k][d] = in[k].shape[d - lead] == 1 ? 0 : in[k].strides[d - lead];
  }
  Walk<NIN> walk = merged_walk(out[0].rank, out[0].shape, strides);
  bool fours = walk.axes == 1 || walk.extent[0] % 4 == 0;
  for (int k = 0; k < NOUT; ++k) {
    t.out[k] = elements(out[k]);
    fours = fours && aligned_for_fours(out[k]);
  }
  for (int k = 0; fours && k < NIN; ++k) {
    t.repeats[k] = walk.stride[k][0] == 0;
    if (t.repeats[k]) continue;
    fours = walk.stride[k][0] == 1 && aligned_for_fours(in[k]);
    for (int d = 1; d < walk.axes; ++d) fours = fours && walk.stride[k][d] % 4 == 0;
  }
  if (!fours) {
    launch(a, index, elementwise_ones<NIN, NOUT, F>, blocks_for(walk.count, kElementThreads * 4),
           kElementThreads, 0, t, walk, f);
    return;
  }
  t.tail = static_cast<int>(walk.extent[0] % 4);
  walk.extent[0] /= 4;
  for (int k = 0; k < NIN; ++k) walk.stride[k][0] *= 4;
  walk.finish();
  constexpr int kGroups = NIN == 1 ? 4 : 2;
  launch(a, index, elementwise_fours<NIN, NOUT, F>, blocks_for(walk.count, kElementThreads * kGroups),
         kElementThreads, 0, t, walk, f);
}

// The common case: launch 0, from the op's inputs to its outputs.
template <int NIN, int NOUT, class F>
void elementwise(const KernelArgs& a, F f) {
  elementwise<NIN, NOUT>(a, 0, a.in, a.out, f);
}

}  // namespace reckon::ops::gpu
