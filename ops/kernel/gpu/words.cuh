// Words of 1 to 16 bytes, for kernels that move elements as they are, whatever their type.
#pragma once

#include "ops/kernel/gpu/device.cuh"

namespace reckon::ops::gpu {

inline constexpr int kCopyThreads = 256, kWordsPerThread = 4;

// body(W{}) with an unsigned type of 1, 2, 4, 8 or 16 bytes.
template <class F>
void with_word(int64_t bytes, F&& body) {
  switch (bytes) {
    case 16:
      body(uint4{});
      break;
    case 8:
      body(uint2{});
      break;
    case 4:
      body(static_cast<unsigned>(0));
      break;
    case 2:
      body(static_cast<unsigned short>(0));
      break;
    default:
      body(static_cast<unsigned char>(0));
      break;
  }
}

// The largest power of two up to 16 that divides x.
inline int64_t word_of(int64_t x) { return x == 0 ? 16 : (x & -x) < 16 ? x & -x : 16; }
inline int64_t word_of(const void* address) {
  return word_of(static_cast<int64_t>(reinterpret_cast<uintptr_t>(address) % 16));
}

}  // namespace reckon::ops::gpu
