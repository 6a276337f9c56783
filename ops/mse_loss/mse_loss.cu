// Sums of squared differences: one per piece of kMsePiece elements, then their sum by one block.
#include "ops/kernel/gpu/fours.cuh"
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/launch.cuh"
#include "ops/kernel/gpu/reduce.cuh"
#include "ops/mse_loss/mse_loss_attrs.h"

namespace reckon::ops::gpu {
namespace {

constexpr int kThreads = 256, kReduceThreads = 1024;
constexpr int kAtOnce = 2;  // fours of a thread under way, of each operand

// Operands of n elements each.
struct Operands {
  Elements x, target;
  int64_t n;
  bool fours;

  // f(x, target, count, i): the values from element i on, count being 4 or 1, over the block's elements of
  // [first, last), with first a multiple of 4.
  template <class F>
  __device__ __forceinline__ void each(int64_t first, int64_t last, F&& f) const {
    const int64_t in_fours = fours ? first + (last - first) / 4 * 4 : first, step = kThreads * 4;
    for (int64_t i = first + threadIdx.x * 4; i < in_fours; i += step * kAtOnce) {
      RawFour raw_x[kAtOnce], raw_target[kAtOnce];
#pragma unroll
      for (int u = 0; u < kAtOnce; ++u) {
        if (i + u * step >= in_fours) continue;
        raw_x[u] = issue_four(x, i + u * step);
        raw_target[u] = issue_four(target, i + u * step);
      }
#pragma unroll
      for (int u = 0; u < kAtOnce; ++u) {
        if (i + u * step >= in_fours) continue;
        float xv[4], tv[4];
        four_values(raw_x[u], x.dtype, xv);
        four_values(raw_target[u], target.dtype, tv);
        f(xv, tv, 4, i + u * step);
      }
    }
    for (int64_t i = in_fours + threadIdx.x; i < last; i += kThreads) {
      const float xv[4] = {load(x, i)}, tv[4] = {load(target, i)};
      f(xv, tv, 1, i);
    }
  }
};

__device__ __forceinline__ int64_t end_of_piece(int64_t first, int64_t n) {
  return first + kMsePiece < n ? first + kMsePiece : n;
}

__device__ __forceinline__ void store_some(const Elements& e, int64_t i, int count, const float (&v)[4]) {
  if (count == 4)
    store4(e, i, v);
  else
    store(e, i, v[0]);
}

// The piece's sum into sums, or its squares into loss when there is one.
__global__ void __launch_bounds__(kThreads) squared_differences(Operands p, Elements loss, float* sums) {
  __shared__ float cells[32];
  const int64_t first = int64_t{blockIdx.x} * kMsePiece;
  float sum = 0;
  p.each(first, end_of_piece(first, p.n),
         [&](const float(&x)[4], const float(&target)[4], int count, int64_t i) {
           float squares[4] = {};
           for (int k = 0; k < count; ++k) squares[k] = (x[k] - target[k]) * (x[k] - target[k]);
           if (loss)
             store_some(loss, i, count, squares);
           else
             sum += (squares[0] + squares[1]) + (squares[2] + squares[3]);
         });
  if (loss) return;
  sum = block_sum(sum, cells);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kReduceThreads)
    reduce_pieces(const float* sums, int64_t pieces, float divisor, float* loss) {
  __shared__ float cells[32];
  float sum = 0;
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < pieces; i += kReduceThreads) sum += sums[i];
  sum = block_sum(sum, cells);
  if (threadIdx.x == 0) *loss = sum / divisor;
}

// dx = 2 (x - target) g, where one g serves all elements when reduced and is divided by `divisor`.
template <bool kReduced>
__global__ void __launch_bounds__(kThreads) mse_backward(Operands p, Elements g, float divisor, Elements dx) {
  const int64_t first = int64_t{blockIdx.x} * kMsePiece;
  const float scale = kReduced ? 2.0f * load(g, 0) / divisor : 2.0f;
  p.each(first, end_of_piece(first, p.n),
         [&](const float(&x)[4], const float(&target)[4], int count, int64_t i) {
           float gv[4] = {1, 1, 1, 1}, v[4] = {};
           if (!kReduced && count == 4)
             load4(g, i, gv);
           else if (!kReduced)
             gv[0] = load(g, i);
           for (int k = 0; k < count; ++k) v[k] = (x[k] - target[k]) * scale * gv[k];
           store_some(dx, i, count, v);
         });
}

unsigned pieces_of(const Operands& p) { return blocks_for(p.n, kMsePiece); }

Operands operands(const TensorArg& x, const TensorArg& target, const TensorArg& to) {
  return {elements(x), elements(target), x.numel(),
          takes_fours(x, 4) && takes_fours(target, 4) && takes_fours(to, 4)};
}

void mse_loss_gpu(KernelArgs& a) {
  const Reduction r = a.as<MseAttrs>().reduction;
  const Operands p = operands(a.in[mse_loss_in::x], a.in[mse_loss_in::target], a.out[0]);
  const bool reduced = r != Reduction::none;
  auto* sums = reduced ? reinterpret_cast<float*>(a.workspace[0]) : nullptr;
  launch(a, 0, squared_differences, pieces_of(p), kThreads, 0, p, reduced ? Elements{} : elements(a.out[0]),
         sums);
  if (reduced)
    launch(a, 1, reduce_pieces, 1, kReduceThreads, 0, sums, pieces_of(p),
           r == Reduction::mean ? static_cast<float>(p.n) : 1.0f, a.out[0].as<float>());
}

void mse_loss_backward_gpu(KernelArgs& a) {
  const Reduction r = a.as<MseAttrs>().reduction;
  const TensorArg& g = a.in[mse_loss_backward_in::g];
  Operands p = operands(a.in[mse_loss_backward_in::x], a.in[mse_loss_backward_in::target], a.out[0]);
  if (r == Reduction::none) p.fours = p.fours && takes_fours(g, 4);
  const float divisor = r == Reduction::mean ? static_cast<float>(p.n) : 1.0f;
  if (r == Reduction::none)
    launch(a, 0, mse_backward<false>, pieces_of(p), kThreads, 0, p, elements(g), divisor, elements(a.out[0]));
  else
    launch(a, 0, mse_backward<true>, pieces_of(p), kThreads, 0, p, elements(g), divisor, elements(a.out[0]));
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(mse_loss) {
  return {{"mse_loss", mse_loss_gpu}, {"mse_loss_backward", mse_loss_backward_gpu}};
}
