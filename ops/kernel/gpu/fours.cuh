// Four neighbouring elements at once, in two steps: what hides the memory's latency is the number
// of loads under way, so a kernel issues several before it looks at the first value, although
// types are only known at run time.
#pragma once

#include "ops/kernel/gpu/elements.cuh"
#include "ops/kernel/gpu/mma.cuh"

namespace reckon::ops::gpu {

struct RawFour {
  unsigned words[4] = {};  // f32: one each; 16-bit types: all four in the first two
};

// Element i and the three after it, of a floating type; i is a multiple of 4 and the
// tensor's address one of 16 bytes.
__device__ __forceinline__ RawFour issue_four(const float* data, int64_t i) {
  const float4 x = *reinterpret_cast<const float4*>(data + i);
  return {{__float_as_uint(x.x), __float_as_uint(x.y), __float_as_uint(x.z), __float_as_uint(x.w)}};
}
__device__ __forceinline__ RawFour issue_four(const unsigned short* data, int64_t i) {
  const uint2 x = *reinterpret_cast<const uint2*>(data + i);
  return {{x.x, x.y}};
}
__device__ __forceinline__ RawFour issue_four(const Elements& e, int64_t i) {
  return e.dtype == DType::f32 ? issue_four(static_cast<const float*>(e.data), i)
                               : issue_four(static_cast<const unsigned short*>(e.data), i);
}

__device__ __forceinline__ float bf16_bits_to_float(unsigned bits) { return __uint_as_float(bits << 16); }
__device__ __forceinline__ float half_bits_to_float(unsigned bits) {
  return __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
}

__device__ __forceinline__ void four_values(const RawFour& raw, DType t, float (&v)[4]) {
  const unsigned *w = raw.words, halves[4] = {w[0] & 0xffffu, w[0] >> 16, w[1] & 0xffffu, w[1] >> 16};
#pragma unroll
  for (int i = 0; i < 4; ++i)
    v[i] = t == DType::f32 ? __uint_as_float(w[i])
                           : (t == DType::bf16 ? bf16_bits_to_float(halves[i]) : half_bits_to_float(halves[i]));
}

__device__ __forceinline__ void store_four(float* to, const float (&v)[4]) {
  *reinterpret_cast<float4*>(to) = make_float4(v[0], v[1], v[2], v[3]);
}
template <class T>  // of 16 bits
__device__ __forceinline__ void store_four(T* to, const float (&v)[4]) {
  *reinterpret_cast<uint2*>(to) = make_uint2(pack_pair<T>(v[0], v[1]), pack_pair<T>(v[2], v[3]));
}

}  // namespace reckon::ops::gpu
