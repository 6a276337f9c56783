// A block takes some tokens and a tile of pairs: it works out their cosines and sines once, in shared memory,
// and turns the pairs of all heads by them. Angles are f64.
#include "ops/kernel/gpu/angle.cuh"
#include "ops/kernel/gpu/elements.cuh"
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/launch.cuh"
#include "ops/kernel/gpu/walk.cuh"
#include "ops/rope/rope_attrs.h"

namespace reckon::ops::gpu {
namespace {

constexpr int kThreads = 256, kMostPairs = 256, kMostTokens = 16;

struct Rope {
  Elements x, y;
  const int64_t* positions;
  int64_t tokens, n_positions, heads, half;  // half: pairs of a head
  int64_t pair_tiles;
  int tokens_per_block;
  double step;  // -2 ln(theta) / D
  float sign;   // -1: turns back
  int pairs;    // of a whole tile
  int groups;   // of N pairs in a whole tile
  Divisor by_heads, by_groups, by_pairs;
};

template <int N>
__device__ __forceinline__ void read(const Elements& e, int64_t i, float (&v)[N]) {
  if constexpr (N == 4)
    load4(e, i, v);
  else
    v[0] = load(e, i);
}
template <int N>
__device__ __forceinline__ void write(const Elements& e, int64_t i, const float (&v)[N]) {
  if constexpr (N == 4)
    store4(e, i, v);
  else
    store(e, i, v[0]);
}

// Threads take N pairs, N = 4 where D / 2 is a multiple of 4.
template <int N>
__global__ void __launch_bounds__(kThreads) rope_turn(const __grid_constant__ Rope t) {
  RECKON_DYNAMIC_SHARED(double, frequency);
  float2* turns = reinterpret_cast<float2*>(frequency + t.pairs);  // cosine and sine of each token and pair
  const int64_t block = blockIdx.x / t.pair_tiles, first_token = block * t.tokens_per_block;
  const int64_t first_pair = (blockIdx.x - block * t.pair_tiles) * t.pairs;
  const int pairs = t.half - first_pair < t.pairs ? static_cast<int>(t.half - first_pair) : t.pairs;
  const int tokens = t.tokens - first_token < t.tokens_per_block ? static_cast<int>(t.tokens - first_token)
                                                                 : t.tokens_per_block;
  for (int i = threadIdx.x; i < pairs; i += kThreads)
    frequency[i] = exp(t.step * static_cast<double>(first_pair + i));
  __syncthreads();
  for (uint32_t e = threadIdx.x; e < static_cast<uint32_t>(tokens * t.pairs); e += kThreads) {
    const uint32_t token = t.by_pairs.divide_narrow(e), i = e - token * t.pairs;
    if (i >= pairs) continue;  // the last tile may be shorter
    const double position = static_cast<double>(t.positions[(first_token + token) % t.n_positions]);
    float sine, cosine;
    sine_cosine(turned(position * frequency[i]), &sine, &cosine);
    turns[e] = make_float2(cosine, t.sign * sine);
  }
  __syncthreads();
  const uint32_t items = static_cast<uint32_t>(tokens * t.heads * t.groups);
  for (uint32_t item = threadIdx.x; item < items; item += kThreads) {
    const uint32_t row = t.by_groups.divide_narrow(item), i = (item - row * t.groups) * N,
                   token = t.by_heads.divide_narrow(row);
    if (i >= pairs) continue;
    const int64_t low = ((first_token * t.heads + row) * 2) * t.half + first_pair + i, high = low + t.half;
    float u[N], v[N];
    read<N>(t.x, low, u);
    read<N>(t.x, high, v);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float2 turn = turns[token * t.pairs + i + k];
      const float p = u[k] * turn.x - v[k] * turn.y, q = v[k] * turn.x + u[k] * turn.y;
      u[k] = p, v[k] = q;
    }
    write<N>(t.y, low, u);
    write<N>(t.y, high, v);
  }
}

void rope_gpu(KernelArgs& a) {
  const auto& attrs = a.as<RopeAttrs>();
  const TensorArg &x = a.in[rope_in::x], &positions = a.in[rope_in::positions], &y = a.out[0];
  const int64_t heads = x.shape[2], half = x.shape[3] / 2;
  const bool fours = takes_fours(x, half) && takes_fours(y, half);
  Rope t{elements(x), elements(y), positions.as<int64_t>(), x.shape[0] * x.shape[1], positions.numel(),
         heads,       half};
  t.pairs = static_cast<int>(half < kMostPairs ? half : kMostPairs);
  t.pair_tiles = (half + t.pairs - 1) / t.pairs;
  t.step = -2.0 * attrs.log_theta / static_cast<double>(x.shape[3]);
  t.sign = attrs.inverse ? -1.0f : 1.0f;
  t.groups = t.pairs / (fours ? 4 : 1);
  // About four items a thread, so that the angles are worth their while.
  const int64_t per_token = heads * t.groups > 0 ? heads * t.groups : 1, wanted = 4 * kThreads / per_token;
  t.tokens_per_block = static_cast<int>(wanted < 1 ? 1 : wanted > kMostTokens ? kMostTokens : wanted);
  t.by_heads = Divisor(heads > 0 ? heads : 1, true);
  t.by_groups = Divisor(t.groups, true);
  t.by_pairs = Divisor(t.pairs, true);
  const int64_t blocks = (t.tokens + t.tokens_per_block - 1) / t.tokens_per_block * t.pair_tiles;
  launch(a, 0, fours ? rope_turn<4> : rope_turn<1>, blocks_for(blocks, 1), kThreads,
         static_cast<size_t>(t.pairs) *
             (sizeof(double) + static_cast<size_t>(t.tokens_per_block) * sizeof(float2)),
         t);
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(rope) { return {{"rope", rope_gpu}}; }
