// Constants, causal masks and random numbers written over a contiguous tensor.
#include "ops/fill/fill_attrs.h"
#include "ops/kernel/gpu/elementwise.cuh"
#include "ops/kernel/gpu/gpu_kernels.h"

#include <stdexcept>

namespace reckon::ops::gpu {
namespace {

constexpr int kThreads = 256, kWords = 4;

// The value's bits in the tensor's type, repeated over 16 bytes.
struct Pattern {
  uint4 words;
  int element;  // bytes
};

template <class T>
Pattern repeated(T value) {
  Pattern p{{}, static_cast<int>(sizeof(T))};
  for (size_t at = 0; at < sizeof(p.words); at += sizeof(T))
    memcpy(reinterpret_cast<char*>(&p.words) + at, &value, sizeof(T));
  return p;
}

Pattern pattern_of(double v, DType t) {
  switch (t) {
    case DType::f32:
      return repeated(static_cast<float>(v));
    case DType::bf16:
      return repeated(f64_to_bf16(v));
    case DType::f16:
      return repeated(f64_to_f16(v));
    case DType::i64:
      return repeated(static_cast<int64_t>(v));
    case DType::u8:
      return repeated(static_cast<uint8_t>(v));
    default:
      throw std::runtime_error("a fill of 8-bit floats is not offered");
  }
}

// Bytes before the first multiple of 16 and after the last one go one by one: their
// position says which of the pattern.
__global__ void __launch_bounds__(kThreads) fill_bytes(unsigned char* data, int64_t head, int64_t words,
                                                       int64_t tail, const __grid_constant__ Pattern p) {
  const int64_t first = int64_t{blockIdx.x} * (kThreads * kWords) + threadIdx.x;
#pragma unroll
  for (int g = 0; g < kWords; ++g) {
    const int64_t i = first + g * kThreads;
    if (i < words) reinterpret_cast<uint4*>(data + head)[i] = p.words;
  }
  if (blockIdx.x == 0 && threadIdx.x < 32) {
    const auto byte = [&](int64_t at) {  // of the pattern, seen from the tensor's first byte
      const unsigned k = static_cast<unsigned>(at % p.element);
      const unsigned word = k < 4 ? p.words.x : p.words.y;
      return static_cast<unsigned char>(word >> (8 * (k % 4)));
    };
    const int64_t i = threadIdx.x, end = head + 16 * words;
    if (i < head) data[i] = byte(i);
    if (i < tail) data[end + i] = byte(end + i);
  }
}

void fill_gpu(KernelArgs& a) {
  const TensorArg& t = a.out[0];
  const Pattern p = pattern_of(a.as<FillAttrs>().value, t.dtype);
  const int64_t bytes = t.numel() * p.element;
  int64_t head = static_cast<int64_t>((16 - reinterpret_cast<uintptr_t>(t.data) % 16) % 16);
  if (head > bytes) head = bytes;
  const int64_t words = (bytes - head) / 16;
  launch(a, 0, fill_bytes, blocks_for(words, kThreads * kWords), kThreads, 0, t.as<unsigned char>(), head,
         words, bytes - head - 16 * words, p);
}

// 0 where key j <= query + keys - queries.
__global__ void __launch_bounds__(kThreads)
    fill_causal_rows(Elements t, int64_t keys, int64_t queries, float value) {
  const int64_t row = blockIdx.x, last = row % queries + keys - queries;
  for (int64_t j = threadIdx.x; j < keys; j += kThreads) store(t, row * keys + j, j <= last ? 0.0f : value);
}

void fill_causal_gpu(KernelArgs& a) {
  const TensorArg& t = a.out[0];
  const int64_t keys = t.shape[t.rank - 1], queries = t.shape[t.rank - 2],
                rows = keys > 0 ? t.numel() / keys : 0;
  if (t.dtype == DType::i64) throw std::runtime_error("a causal mask of integers is not offered on a GPU");
  launch(a, 0, fill_causal_rows, blocks_for(rows, 1), rows > 0 ? kThreads : 1, 0, elements(t),
         rows > 0 ? keys : 0, rows > 0 ? queries : 1, static_cast<float>(a.as<FillAttrs>().value));
}

struct Draw {
  Philox random;
  double mean, spread;
  Distribution distribution;

  // One counter per element. Products and sums are kept apart, as the CPU rounds them, so uniform numbers have
  // its bits; normal ones differ by the logarithm's and the cosine's last places.
  __device__ __forceinline__ float operator()(uint64_t element) const {
    for (uint64_t attempt = 0;; ++attempt) {
      const PhiloxBlock block = random(element + (attempt << kRedrawBits));
      const float u = uniform_open(block[0]);
      if (distribution == Distribution::uniform)
        return static_cast<float>(__dadd_rn(mean, __dmul_rn(spread, 2.0 * u - 1.0)));
      const float z = sqrtf(-2.0f * logf(u)) * cospif(2.0f * uniform_open(block[1]));
      if (distribution == Distribution::normal || fabsf(z) <= kTruncation)
        return static_cast<float>(__dadd_rn(mean, __dmul_rn(spread, z)));
    }
  }
};

__global__ void __launch_bounds__(kThreads) fill_random_elements(Elements t, int64_t n, Draw draw) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < n) store(t, i, draw(static_cast<uint64_t>(i)));
}

void fill_random_gpu(KernelArgs& a) {
  const auto& r = a.as<RandomAttrs>();
  const TensorArg& t = a.out[0];
  if (!is_floating(t.dtype) || size_of(t.dtype) == 1)
    throw std::runtime_error("random numbers on a GPU are f32, bf16 or f16");
  launch(a, 0, fill_random_elements, blocks_for(t.numel(), kThreads), kThreads, 0, elements(t), t.numel(),
         Draw{r.random, r.mean, r.spread, r.distribution});
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(fill) {
  return {{"fill", fill_gpu}, {"fill_causal", fill_causal_gpu}, {"fill_random", fill_random_gpu}};
}
