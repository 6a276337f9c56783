// One warp's product of small matrices on the tensor cores: d (16 x 8, f32) += a (16 x 16) b (16
// x 8), with the operands in registers in the layout that the PTX manual gives for mma.m16n8k16
// (with g = lane / 4, t = lane % 4):
//   a[0]: row g,     columns 2t, 2t + 1      a[2]: row g,     columns 2t + 8, 2t + 9
//   a[1]: row g + 8, columns 2t, 2t + 1      a[3]: row g + 8, columns 2t + 8, 2t + 9
//   b[0]: rows 2t, 2t + 1 of column g        b[1]: rows 2t + 8, 2t + 9 of column g
//   d[0], d[1]: row g, columns 2t, 2t + 1    d[2], d[3]: row g + 8, columns 2t, 2t + 1
// Each 32-bit register holds two neighbours, the lower index in the lower half. The layout is
// known, so kernels may keep sums in registers between products (as attention does with its
// logits). The emulator has its own body.
#pragma once

#include "ops/kernel/gpu/device.cuh"

namespace reckon::ops::gpu {

template <class T>  // __nv_bfloat16 or __half
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]);

// Two f32 rounded into one register, `low` in the lower half.
template <class T>
__device__ __forceinline__ unsigned pack_pair(float low, float high);

template <>
__device__ __forceinline__ unsigned pack_pair<__nv_bfloat16>(float low, float high) {
  const __nv_bfloat162 p = __floats2bfloat162_rn(low, high);
  unsigned bits;
  memcpy(&bits, &p, 4);
  return bits;
}
template <>
__device__ __forceinline__ unsigned pack_pair<__half>(float low, float high) {
  const __half2 p = __floats2half2_rn(low, high);
  unsigned bits;
  memcpy(&bits, &p, 4);
  return bits;
}

#if defined(__CUDACC__)

template <>
__device__ __forceinline__ void mma_m16n8k16<__nv_bfloat16>(float (&d)[4], const unsigned (&a)[4],
                                                            const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
template <>
__device__ __forceinline__ void mma_m16n8k16<__half>(float (&d)[4], const unsigned (&a)[4],
                                                     const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#else

template <class T>
void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  ::simt::Machine& machine = ::simt::Machine::get();
  const unsigned lane = machine.lane();
  // Lanes show each other where their registers lie; the last exchange keeps these alive until all have read.
  struct Registers {
    const unsigned *a, *b;
  } own{a, b};
  const uint64_t* shown = machine.exchange(~0u, reinterpret_cast<uint64_t>(&own), __LINE__, nullptr, false);
  {
    ::simt::Unseen unseen;
    const auto half = [](const unsigned* registers, int r, int k) {
      const unsigned short bits = static_cast<unsigned short>(registers[r] >> (16 * (k % 2)));
      T v;
      std::memcpy(static_cast<void*>(&v), &bits, 2);
      return static_cast<float>(v);
    };
    const auto of = [&](unsigned l) { return reinterpret_cast<const Registers*>(shown[l]); };
    for (int e = 0; e < 4; ++e) {
      const unsigned row = lane / 4 + (e / 2) * 8, column = lane % 4 * 2 + e % 2;
      float sum = 0;
      for (int k = 0; k < 16; ++k) {
        const unsigned t = k % 8 / 2;
        const float x = half(of(row % 8 * 4 + t)->a, (row / 8) + (k / 8) * 2, k);
        const float y = half(of(column * 4 + t)->b, k / 8, k);
        sum += x * y;
      }
      d[e] += sum;
    }
  }
  machine.exchange(~0u, 0, __LINE__, nullptr, false);
}

#endif

}  // namespace reckon::ops::gpu
