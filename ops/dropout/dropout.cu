// Dropout by masks that are a pure function of a key and the element's position: word i % 4 of the Philox block
// of counter i / 4. A group of four elements takes one block. A mask that is kept and shared, or that is shared
// in another pattern than SharedRun's, is written first and then applied.
#include "ops/dropout/dropout_attrs.h"
#include "ops/kernel/gpu/elementwise.cuh"
#include "ops/kernel/gpu/gpu_kernels.h"
#include "runtime/core/rng.h"

namespace reckon::ops::gpu {
namespace {

struct Draw {
  Philox random;
  uint32_t threshold;

  explicit Draw(const DropoutAttrs& t) : random{t.key.seed, t.key.stream}, threshold(t.threshold) {}

  // keep[k]: of element first + k. N = 4: first is a multiple of four.
  template <int N>
  __device__ __forceinline__ void operator()(int64_t first, bool (&keep)[N]) const {
    const PhiloxBlock block = random(static_cast<uint64_t>(first) / 4);
    if constexpr (N == 4) {
#pragma unroll
      for (int k = 0; k < 4; ++k) keep[k] = block[k] >= threshold;
    } else {
      const int word = static_cast<int>(first % 4);
      keep[0] = (word < 2 ? (word == 0 ? block[0] : block[1]) : (word == 2 ? block[2] : block[3])) >= threshold;
    }
  }
};

// The product is rounded before the sum, so that dropout_add gives the bits of a sum with dropout's result.
__device__ __forceinline__ float kept(float x, bool keep, float scale) {
  return keep ? __fmul_rn(x, scale) : 0.0f;
}

// Elements whose mask is drawn where it is needed: mask element i of element i, or that of
// the run of axes that share it.
struct InPlace {
  Draw draw;
  bool shared = false;
  Split outer, inner;

  InPlace(const DropoutAttrs& t, const TensorArg& y) : draw(t), shared(t.shared != 0) {
    const SharedRun run(y.rank, y.shape, t.shared);
    outer = Split(run.outer, y.numel());
    inner = Split(run.inner, y.numel());
  }
  __device__ __forceinline__ int64_t of(int64_t i) const {
    int64_t ignored, column;
    const int64_t row = outer(i, &ignored);
    inner(i, &column);
    return row * inner.by + column;
  }
  template <int N>
  __device__ __forceinline__ void operator()(int64_t first, bool (&keep)[N]) const {
    draw(shared ? of(first) : first, keep);
  }
};

struct DrawAndApply {
  using Grouped = void;
  InPlace draw;
  float scale;
  unsigned char* mask;  // written where given: not shared

  template <int N>
  __device__ __forceinline__ void group(int64_t first, const float (&in)[1][N], float (&out)[1][N]) const {
    bool keep[N];
    draw(first, keep);
#pragma unroll
    for (int k = 0; k < N; ++k) out[0][k] = kept(in[0][k], keep[k], scale);
    if (mask == nullptr) return;
    if constexpr (N == 4)
      *reinterpret_cast<uchar4*>(mask + first) = make_uchar4(keep[0], keep[1], keep[2], keep[3]);
    else
      mask[first] = keep[0];
  }
};

struct DrawAndAdd {  // in: residual, x
  using Grouped = void;
  InPlace draw;
  float scale;

  template <int N>
  __device__ __forceinline__ void group(int64_t first, const float (&in)[2][N], float (&out)[1][N]) const {
    bool keep[N];
    draw(first, keep);
#pragma unroll
    for (int k = 0; k < N; ++k) out[0][k] = in[0][k] + kept(in[1][k], keep[k], scale);
  }
};

struct Apply {  // x, mask
  float scale;
  __device__ __forceinline__ float operator()(float x, float mask) const {
    return kept(x, mask != 0.0f, scale);
  }
};
struct ApplyAndAdd {  // residual, x, mask
  float scale;
  __device__ __forceinline__ float operator()(float residual, float x, float mask) const {
    return residual + kept(x, mask != 0.0f, scale);
  }
};

__global__ void __launch_bounds__(kElementThreads) draw_mask(unsigned char* mask, int64_t n, Draw draw) {
  const int64_t first = (int64_t{blockIdx.x} * kElementThreads + threadIdx.x) * 4;
  if (first >= n) return;
  bool keep[4];
  draw(first, keep);
  if (first + 4 <= n) {
    *reinterpret_cast<uchar4*>(mask + first) = make_uchar4(keep[0], keep[1], keep[2], keep[3]);
    return;
  }
#pragma unroll
  for (int k = 0; k < 3; ++k)
    if (first + k < n) mask[first + k] = keep[k];
}

void launch_mask(const KernelArgs& a, const DropoutAttrs& t, const TensorArg& mask) {
  const int64_t n = mask.numel();
  launch(a, 0, draw_mask, blocks_for(n, 4 * kElementThreads), kElementThreads, 0, mask.as<unsigned char>(), n,
         Draw(t));
}

// Of x with the shared axes reduced to one position, contiguous, in a workspace.
TensorArg shared_mask(const TensorArg& x, uint32_t shared, std::byte* data) {
  TensorArg m = x;
  m.data = data;
  m.dtype = DType::u8;
  int64_t step = 1;
  for (int i = x.rank - 1; i >= 0; --i) {
    m.shape[i] = (shared >> i) & 1u ? 1 : x.shape[i];
    m.strides[i] = step;
    step *= m.shape[i];
  }
  return m;
}

bool draws_in_place(const TensorArg& y, uint32_t shared) { return SharedRun(y.rank, y.shape, shared).in_fours; }

void dropout_gpu(KernelArgs& a) {
  const auto& t = a.as<DropoutAttrs>();
  const float scale = static_cast<float>(t.scale);
  const TensorArg& mask = a.out[1];
  if (!t.shared)
    return elementwise<1, 1>(a, 0, a.in, a.out,
                             DrawAndApply{InPlace(t, a.out[0]), scale, mask.as<unsigned char>()});
  launch_mask(a, t, mask);
  const TensorArg in[2] = {a.in[0], mask};
  elementwise<2, 1>(a, 1, in, a.out, Apply{scale});
}

void dropout_backward_gpu(KernelArgs& a) {
  elementwise<2, 1>(a, Apply{static_cast<float>(a.as<DropoutAttrs>().scale)});
}

void dropout_redraw_gpu(KernelArgs& a) {
  const auto& t = a.as<DropoutAttrs>();
  const float scale = static_cast<float>(t.scale);
  if (draws_in_place(a.out[0], t.shared))
    return elementwise<1, 1>(a, DrawAndApply{InPlace(t, a.out[0]), scale, nullptr});
  const TensorArg in[2] = {a.in[0], shared_mask(a.in[0], t.shared, a.workspace[0])};
  launch_mask(a, t, in[1]);
  elementwise<2, 1>(a, 1, in, a.out, Apply{scale});
}

void dropout_add_gpu(KernelArgs& a) {
  const auto& t = a.as<DropoutAttrs>();
  const float scale = static_cast<float>(t.scale);
  if (draws_in_place(a.out[0], t.shared)) return elementwise<2, 1>(a, DrawAndAdd{InPlace(t, a.out[0]), scale});
  const TensorArg& x = a.in[dropout_add_in::x];
  const TensorArg in[3] = {a.in[dropout_add_in::residual], x, shared_mask(x, t.shared, a.workspace[0])};
  launch_mask(a, t, in[2]);
  elementwise<3, 1>(a, 1, in, a.out, ApplyAndAdd{scale});
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(dropout) {
  return {{"dropout", dropout_gpu},
          {"dropout_backward", dropout_backward_gpu},
          {"dropout_add", dropout_add_gpu},
          {"dropout_redraw", dropout_redraw_gpu}};
}
