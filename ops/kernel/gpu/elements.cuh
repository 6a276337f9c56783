// Tensors of any element type, seen as f32: an address and a type that is known at run time. The switch
// is uniform over the launch, so memory-bound kernels need one instantiation instead of one per
// combination of types. Kernels that are bound by arithmetic are templates over float, __nv_bfloat16 and
// __half instead (see with_type).
#pragma once

#include "ops/kernel/gpu/device.cuh"

namespace reckon::ops::gpu {

struct Elements {
  void* data = nullptr;
  DType dtype = DType::f32;

  __device__ explicit operator bool() const { return data != nullptr; }
};

inline Elements elements(const TensorArg& t) { return {t.data, t.dtype}; }

__device__ __forceinline__ float to_float(float v) { return v; }
__device__ __forceinline__ float to_float(__nv_bfloat16 v) { return __bfloat162float(v); }
__device__ __forceinline__ float to_float(__half v) { return __half2float(v); }
__device__ __forceinline__ float half_to_float(unsigned bits) {  // of the lower half
  __half_raw raw;
  raw.x = static_cast<unsigned short>(bits);
  return __half2float(__half(raw));
}
template <class T>
__device__ __forceinline__ T from_float(float v);
template <>
__device__ __forceinline__ float from_float<float>(float v) {
  return v;
}
template <>
__device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float v) {
  return __float2bfloat16_rn(v);
}
template <>
__device__ __forceinline__ __half from_float<__half>(float v) {
  return __float2half_rn(v);
}

__device__ __forceinline__ float load(const Elements& e, int64_t i) {
  switch (e.dtype) {
    case DType::f32:
      return static_cast<const float*>(e.data)[i];
    case DType::bf16:
      return __bfloat162float(static_cast<const __nv_bfloat16*>(e.data)[i]);
    case DType::f16:
      return __half2float(static_cast<const __half*>(e.data)[i]);
    case DType::u8:
      return static_cast<float>(static_cast<const unsigned char*>(e.data)[i]);
    case DType::i64:
      return static_cast<float>(static_cast<const long long*>(e.data)[i]);
    default:
      return 0.0f;
  }
}

// Whether an optional flag of one element is there and not zero.
__device__ __forceinline__ bool is_set(const Elements& flag) { return flag && !(load(flag, 0) == 0.0f); }

__device__ __forceinline__ void store(const Elements& e, int64_t i, float v) {
  switch (e.dtype) {
    case DType::f32:
      static_cast<float*>(e.data)[i] = v;
      break;
    case DType::bf16:
      static_cast<__nv_bfloat16*>(e.data)[i] = __float2bfloat16_rn(v);
      break;
    case DType::f16:
      static_cast<__half*>(e.data)[i] = __float2half_rn(v);
      break;
    case DType::u8:
      static_cast<unsigned char*>(e.data)[i] = static_cast<unsigned char>(static_cast<int>(v));
      break;
    case DType::f64:
      static_cast<double*>(e.data)[i] = v;
      break;  // only a cast's result
    default:
      break;
  }
}

// Four neighbours at once; i must be a multiple of 4 and the tensor's address of 4 elements.
__device__ __forceinline__ void load4(const Elements& e, int64_t i, float (&v)[4]) {
  switch (e.dtype) {
    case DType::f32: {
      const float4 x = *reinterpret_cast<const float4*>(static_cast<const float*>(e.data) + i);
      v[0] = x.x, v[1] = x.y, v[2] = x.z, v[3] = x.w;
      break;
    }
    case DType::bf16: {
      const uint2 x = *reinterpret_cast<const uint2*>(static_cast<const __nv_bfloat16*>(e.data) + i);
      v[0] = __uint_as_float(x.x << 16), v[1] = __uint_as_float(x.x & 0xffff0000u);
      v[2] = __uint_as_float(x.y << 16), v[3] = __uint_as_float(x.y & 0xffff0000u);
      break;
    }
    case DType::f16: {
      const uint2 x = *reinterpret_cast<const uint2*>(static_cast<const __half*>(e.data) + i);
      v[0] = half_to_float(x.x), v[1] = half_to_float(x.x >> 16);
      v[2] = half_to_float(x.y), v[3] = half_to_float(x.y >> 16);
      break;
    }
    default:
#pragma unroll
      for (int k = 0; k < 4; ++k) v[k] = load(e, i + k);
  }
}

__device__ __forceinline__ void store4(const Elements& e, int64_t i, const float (&v)[4]) {
  if (e.dtype == DType::f32) {
    *reinterpret_cast<float4*>(static_cast<float*>(e.data) + i) = make_float4(v[0], v[1], v[2], v[3]);
    return;
  }
  if (e.dtype == DType::bf16) {
    __nv_bfloat162 low = __floats2bfloat162_rn(v[0], v[1]), high = __floats2bfloat162_rn(v[2], v[3]);
    uint2 x;
    memcpy(&x.x, &low, 4);
    memcpy(&x.y, &high, 4);
    *reinterpret_cast<uint2*>(static_cast<__nv_bfloat16*>(e.data) + i) = x;
    return;
  }
  if (e.dtype == DType::f16) {
    const __half2 low = __floats2half2_rn(v[0], v[1]), high = __floats2half2_rn(v[2], v[3]);
    uint2 x;
    memcpy(&x.x, &low, 4);
    memcpy(&x.y, &high, 4);
    *reinterpret_cast<uint2*>(static_cast<__half*>(e.data) + i) = x;
    return;
  }
#pragma unroll
  for (int k = 0; k < 4; ++k) store(e, i + k, v[k]);
}

// Whether load4 and store4 may be used on whole rows of `row` elements.
inline bool takes_fours(const TensorArg& t, int64_t row) {
  return row % 4 == 0 && reinterpret_cast<uintptr_t>(t.data) % 16 == 0 && t.dtype != DType::i64 &&
         t.dtype != DType::u8;
}

// body(T{}) with the CUDA type of a floating dtype: for kernels that are templates over it.
template <class F>
void with_type(DType t, F&& body) {
  switch (t) {
    case DType::bf16:
      body(__nv_bfloat16{});
      break;
    case DType::f16:
      body(__half{});
      break;
    default:
      body(float{});
      break;
  }
}

}  // namespace reckon::ops::gpu
