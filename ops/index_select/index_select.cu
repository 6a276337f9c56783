// Slices of an axis by index, their sums, and one-hot vectors.
#include "ops/index_select/index_select_attrs.h"
#include "ops/kernel/gpu/gather_rows.cuh"
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/scatter_rows.cuh"

namespace reckon::ops::gpu {
namespace {

int64_t extent_of_axes(const TensorArg& t, int first, int last) {
  int64_t n = 1;
  for (int i = first; i < last; ++i) n *= t.shape[i];
  return n;
}

void index_select_gpu(KernelArgs& a) {
  const auto& t = a.as<IndexAttrs>();
  const TensorArg& x = a.in[index_select_in::x];
  gather_rows(a, x, a.in[index_select_in::ids], a.out[0], extent_of_axes(x, 0, t.axis), t.extent,
              extent_of_axes(x, t.axis + 1, x.rank) * static_cast<int64_t>(size_of(x.dtype)));
}

void scatter_add_gpu(KernelArgs& a) {
  const auto& t = a.as<IndexAttrs>();
  const TensorArg& y = a.out[0];
  scatter_rows(a, a.in[scatter_add_in::src], a.in[scatter_add_in::ids], a.in[scatter_add_in::x], y,
               extent_of_axes(y, 0, t.axis), t.extent, extent_of_axes(y, t.axis + 1, y.rank));
}

template <class W>
__global__ void __launch_bounds__(kCopyThreads)
    one_hot_words(const int64_t* ids, W* y, Split by_class, int64_t count, W one) {
  const int64_t first = int64_t{blockIdx.x} * (kCopyThreads * kWordsPerThread) + threadIdx.x;
#pragma unroll
  for (int g = 0; g < kWordsPerThread; ++g) {
    const int64_t i = first + g * kCopyThreads;
    if (i >= count) break;
    int64_t k;
    const int64_t position = by_class(i, &k);
    y[i] = ids[position] == k ? one : W{};
  }
}

// The bits of 1 in a type, in the lower bytes.
uint64_t one_in(DType t) {
  switch (t) {
    case DType::f64:
      return std::bit_cast<uint64_t>(1.0);
    case DType::f32:
      return std::bit_cast<uint32_t>(1.0f);
    case DType::bf16:
      return f32_to_bf16(1.0f);
    case DType::f16:
      return f32_to_f16(1.0f);
    default:
      return 1;
  }
}

void one_hot_gpu(KernelArgs& a) {
  const TensorArg& y = a.out[0];
  const int64_t count = y.numel();
  const uint64_t one = one_in(y.dtype);
  const Split by_class(a.as<OneHotAttrs>().n_classes, count);
  with_word(static_cast<int64_t>(size_of(y.dtype)), [&](auto w) {
    using W = decltype(w);
    if constexpr (sizeof(W) <= 8) {
      W bits;
      memcpy(&bits, &one, sizeof(W));
      launch(a, 0, one_hot_words<W>, blocks_for(count, kCopyThreads * kWordsPerThread), kCopyThreads, 0,
             a.in[0].as<int64_t>(), y.as<W>(), by_class, count, bits);
    }
  });
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(index_select) {
  return {{"index_select", index_select_gpu}, {"scatter_add", scatter_add_gpu}, {"one_hot", one_hot_gpu}};
}
