// Elements as they lie in memory, loaded first and converted to f32 later: a conversion right behind its load
// would make the thread wait before it has issued its other loads, and bandwidth needs many in flight.
#pragma once

#include "ops/kernel/gpu/elements.cuh"

namespace reckon::ops::gpu {

// Four neighbours of f32, bf16, f16 or u8; i is a multiple of 4 and the tensor's address of 4 elements.
__device__ __forceinline__ uint4 load_bits4(const Elements& e, int64_t i) {
  uint4 bits = {};
  if (e.dtype == DType::f32) {
    bits = *reinterpret_cast<const uint4*>(static_cast<const float*>(e.data) + i);
  } else if (e.dtype == DType::u8) {
    bits.x = *reinterpret_cast<const unsigned*>(static_cast<const unsigned char*>(e.data) + i);
  } else {
    const uint2 half = *reinterpret_cast<const uint2*>(static_cast<const unsigned short*>(e.data) + i);
    bits.x = half.x, bits.y = half.y;
  }
  return bits;
}

__device__ __forceinline__ void to_floats(DType t, const uint4& bits, float (&v)[4]) {
  if (t == DType::f32) {
    v[0] = __uint_as_float(bits.x), v[1] = __uint_as_float(bits.y);
    v[2] = __uint_as_float(bits.z), v[3] = __uint_as_float(bits.w);
  } else if (t == DType::bf16) {
    v[0] = __uint_as_float(bits.x << 16), v[1] = __uint_as_float(bits.x & 0xffff0000u);
    v[2] = __uint_as_float(bits.y << 16), v[3] = __uint_as_float(bits.y & 0xffff0000u);
  } else if (t == DType::f16) {
    v[0] = half_to_float(bits.x), v[1] = half_to_float(bits.x >> 16);
    v[2] = half_to_float(bits.y), v[3] = half_to_float(bits.y >> 16);
  } else {
#pragma unroll
    for (int k = 0; k < 4; ++k) v[k] = static_cast<float>(bits.x >> (8 * k) & 0xffu);
  }
}

// One element of any type that load() reads.
__device__ __forceinline__ uint2 load_bits1(const Elements& e, int64_t i) {
  uint2 bits = {};
  if (e.dtype == DType::f32)
    bits.x = static_cast<const unsigned*>(e.data)[i];
  else if (e.dtype == DType::u8)
    bits.x = static_cast<const unsigned char*>(e.data)[i];
  else if (e.dtype == DType::i64)
    bits = static_cast<const uint2*>(e.data)[i];
  else
    bits.x = static_cast<const unsigned short*>(e.data)[i];
  return bits;
}

__device__ __forceinline__ float to_float(DType t, const uint2& bits) {
  switch (t) {
    case DType::f32:
      return __uint_as_float(bits.x);
    case DType::bf16:
      return __uint_as_float(bits.x << 16);
    case DType::f16:
      return half_to_float(bits.x);
    case DType::i64:
      return static_cast<float>(static_cast<long long>(static_cast<unsigned long long>(bits.y) << 32 | bits.x));
    default:
      return static_cast<float>(bits.x);
  }
}

// Whether groups of four may be loaded and stored at multiples of four elements of this tensor.
inline bool aligned_for_fours(const TensorArg& t) {
  const size_t bytes = size_of(t.dtype);
  return bytes <= 4 && reinterpret_cast<uintptr_t>(t.data) % (4 * bytes) == 0;
}

}  // namespace reckon::ops::gpu
