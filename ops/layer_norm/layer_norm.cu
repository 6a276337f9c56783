// A warp per row; parameter gradients are summed over pieces of the rows, then over the pieces, both in a fixed order.
#include "ops/kernel/elements.cuh"
#include "ops/kernel/gpu_kernels.h"
#include "ops/kernel/launch.cuh"
#include "ops/kernel/reduce.cuh"
#include "ops/layer_norm/layer_norm_attrs.h"

namespace reckon::ops::gpu {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;

// f(first column, values in use) over a row's columns in fours, a warp together.
template <class F>
__device__ __forceinline__ void for_fours(int64_t c, bool fours, F&& f) {
  const int lane = threadIdx.x % 32;
  if (fours) {
    for (int64_t j = lane * 4; j < c; j += 128) f(j, 4);
  } else {
    for (int64_t j = lane; j < c; j += 32) f(j, 1);
  }
}

__device__ __forceinline__ void load_some(const Elements& e, int64_t i, int n, float (&v)[4]) {
  if (n == 4) load4(e, i, v);
  else v[0] = load(e, i);
}
__device__ __forceinline__ void store_some(const Elements& e, int64_t i, int n, const float (&v)[4]) {
  if (n == 4) store4(e, i, v);
  else store(e, i, v[0]);
}

__global__ void __launch_bounds__(kThreads) layer_norm_forward(Elements x, Elements weight, Elements bias, Elements y, float* mean, float* rstd,
                                                               int64_t rows, int64_t c, float eps, bool fours) {
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (row >= rows) return;
  const int64_t base = row * c;
  float v[4], s[4];
  float sum = 0;
  for_fours(c, fours, [&](int64_t j, int n) {
    load_some(x, base + j, n, v);
    for (int k = 0; k < n; ++k) sum += v[k];
  });
  const float m = warp_sum(sum) / static_cast<float>(c);
  float squares = 0;
  for_fours(c, fours, [&](int64_t j, int n) {
    load_some(x, base + j, n, v);
    for (int k = 0; k < n; ++k) squares += (v[k] - m) * (v[k] - m);
  });
  const float r = 1.0f / sqrtf(warp_sum(squares) / static_cast<float>(c) + eps);
  if (threadIdx.x % 32 == 0) {
    mean[row] = m;
    rstd[row] = r;
  }
  for_fours(c, fours, [&](int64_t j, int n) {
    load_some(x, base + j, n, v);
    for (int k = 0; k < n; ++k) v[k] = (v[k] - m) * r;
    if (weight) {
      load_some(weight, j, n, s);
      for (int k = 0; k < n; ++k) v[k] *= s[k];
    }
    if (bias) {
      load_some(bias, j, n, s);
      for (int k = 0; k < n; ++k) v[k] += s[k];
    }
    store_some(y, base + j, n, v);
  });
}

// dx of the piece's rows, a warp each, then their share of the parameter gradients, a column per thread: the rows come
// from the cache the second time. With d = x - mean, u = g weight, r = rstd: dx = r u - d r^3 mean(u d) - r mean(u).
__global__ void __launch_bounds__(kThreads)
    layer_norm_backward_piece(Elements g, Elements x, Elements weight, const float* mean, const float* rstd, Elements dx, float* sums,
                              int64_t rows, int64_t piece, int64_t c, bool wants_weight, bool wants_bias, bool fours) {
  const int64_t first = int64_t{blockIdx.x} * piece, last = first + piece < rows ? first + piece : rows;
  if (dx) {
    for (int64_t row = first + threadIdx.x / 32; row < last; row += kWarps) {
      const int64_t base = row * c;
      const float m = mean[row], r = rstd[row];
      float gv[4], xv[4], w[4] = {1, 1, 1, 1};
      float sum_u = 0, sum_ud = 0;
      for_fours(c, fours, [&](int64_t j, int n) {
        load_some(g, base + j, n, gv);
        load_some(x, base + j, n, xv);
        if (weight) load_some(weight, j, n, w);
        for (int k = 0; k < n; ++k) {
          sum_u += gv[k] * w[k];
          sum_ud += gv[k] * w[k] * (xv[k] - m);
        }
      });
      const float shift = warp_sum(sum_u) / static_cast<float>(c) * r;
      const float slope = warp_sum(sum_ud) / static_cast<float>(c) * r * r * r;
      for_fours(c, fours, [&](int64_t j, int n) {
        load_some(g, base + j, n, gv);
        load_some(x, base + j, n, xv);
        if (weight) load_some(weight, j, n, w);
        for (int k = 0; k < n; ++k) gv[k] = r * (gv[k] * w[k]) - (xv[k] - m) * slope - shift;
        store_some(dx, base + j, n, gv);
      });
    }
  }
  float* own = sums + blockIdx.x * c * (int64_t{wants_weight} + wants_bias);
  for (int64_t j = threadIdx.x; (wants_weight || wants_bias) && j < c; j += kThreads) {
    float dweight = 0, dbias = 0;
    for (int64_t row = first; row < last; ++row) {
      const float gv = load(g, row * c + j);
      dbias += gv;
      if (wants_weight) dweight += gv * ((load(x, row * c + j) - mean[row]) * rstd[row]);
    }
    if (wants_weight) own[j] = dweight;
    if (wants_bias) own[(wants_weight ? c : 0) + j] = dbias;
  }
}

// Sums [pieces, n] over the pieces: 32 columns by 8 strands of pieces a block.
__global__ void __launch_bounds__(kThreads)
    layer_norm_sum_pieces(const float* sums, Elements first, Elements second, int64_t pieces, int64_t c, int64_t n) {
  __shared__ float strands[kWarps][32];
  const int column = threadIdx.x % 32, strand = threadIdx.x / 32;
  const int64_t j = int64_t{blockIdx.x} * 32 + column;
  float sum = 0;
  for (int64_t p = strand; p < pieces && j < n; p += kWarps) sum += sums[p * n + j];
  strands[strand][column] = sum;
  __syncthreads();
  if (strand != 0 || j >= n) return;
  for (int s = 1; s < kWarps; ++s) sum += strands[s][column];
  if (j < c) store(first, j, sum);
  else store(second, j - c, sum);
}

void layer_norm_gpu(KernelArgs& a) {
  const TensorArg &x = a.in[0], &y = a.out[0];
  const bool fours = takes_fours(x, x.last()) && takes_fours(y, x.last()) && takes_fours(a.in[1], x.last()) && takes_fours(a.in[2], x.last());
  launch(a, 0, layer_norm_forward, blocks_for(x.rows(), kWarps), kThreads, 0, elements(x), elements(a.in[1]), elements(a.in[2]), elements(y),
         a.out[1].as<float>(), a.out[2].as<float>(), x.rows(), x.last(), static_cast<float>(a.as<LayerNormAttrs>().eps), fours);
}

void layer_norm_backward_gpu(KernelArgs& a) {
  const auto& t = a.as<LayerNormBackwardAttrs>();
  const TensorArg &g = a.in[0], &x = a.in[1], &w = a.in[2];
  const int64_t c = x.last(), rows = x.rows(), piece = layer_norm_gpu_piece(rows), pieces = layer_norm_gpu_pieces(rows);
  const int n_sums = t.dweight + t.dbias;
  const Elements dx = t.dx ? elements(a.out[0]) : Elements{};
  const bool fours = takes_fours(g, c) && takes_fours(x, c) && takes_fours(w, c) && (!t.dx || takes_fours(a.out[0], c));
  float* sums = n_sums > 0 ? reinterpret_cast<float*>(a.workspace[0]) : nullptr;
  launch(a, 0, layer_norm_backward_piece, blocks_for(pieces, 1), kThreads, 0, elements(g), elements(x), elements(w), a.in[3].as<float>(),
         a.in[4].as<float>(), dx, sums, rows, piece, c, t.dweight, t.dbias, fours);
  if (n_sums == 0) return;
  const Elements first = elements(a.out[t.dx]), second = n_sums == 2 ? elements(a.out[t.dx + 1]) : Elements{};
  launch(a, 1, layer_norm_sum_pieces, blocks_for(n_sums * c, 32), kThreads, 0, sums, first, second, pieces, c, n_sums * c);
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(layer_norm) {
  return {{"layer_norm", layer_norm_gpu}, {"layer_norm_backward", layer_norm_backward_gpu}};
}
