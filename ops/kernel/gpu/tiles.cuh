// How tiles of 16-bit elements travel: from global into shared memory without passing through
// registers (copy_async), and from shared memory into the operand registers of mma_m16n8k16
// (load_matrices). The emulator has bodies of its own: its asynchronous copies land only when the
// thread waits for them, so that a missing wait shows.
//
// Rows of a tile must start at multiples of 16 bytes, and an odd multiple of 16 bytes apart, so that the eight
// rows of a matrix lie in different banks: kTileRow elements for rows of kWidth, a multiple of 16.
#pragma once

#include "ops/kernel/gpu/device.cuh"

namespace reckon::ops::gpu {

template <int kWidth>
inline constexpr int kTileRow = kWidth + 8;

// load_matrices: four 8 x 8 matrices of 16-bit elements. Lane l passes the address of row l % 8 of matrix l
// / 8, and gets in r[m] the elements 2t, 2t + 1 of row g of matrix m (g = lane / 4, t = lane % 4). With
// `load_matrices_transposed` it gets the rows 2t, 2t + 1 of column g. With the rows given by a_row, b_row
// and b_row_transposed that makes
//   a_row             r = the operand a of the 16 x 16 tile stored [row][k]
//   b_row             r[0..1], r[2..3] = the operands b of columns 0-7 and 8-15 of a tile stored [column][k]
//   b_row_transposed  the same of a tile stored [k][column], for load_matrices_transposed
template <int kRow, class T>
__device__ __forceinline__ T* a_row(T* tile, int lane) {
  return tile + (lane % 16) * kRow + lane / 16 * 8;
}
template <int kRow, class T>
__device__ __forceinline__ T* b_row(T* tile, int lane) {
  return tile + (lane / 16 * 8 + lane % 8) * kRow + lane / 8 % 2 * 8;
}
template <int kRow, class T>
__device__ __forceinline__ T* b_row_transposed(T* tile, int lane) {
  return tile + (lane % 16) * kRow + lane / 16 * 8;
}

#if defined(__CUDACC__)

__device__ __forceinline__ void load_matrices(unsigned (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row))));
}
__device__ __forceinline__ void load_matrices_transposed(unsigned (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row))));
}

// Sixteen (four) bytes, or zeros unless `inside`; then `from` is not read. Both
// addresses are multiples of the size.
__device__ __forceinline__ void copy_async16(void* shared, const void* from, bool inside) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(
                   static_cast<unsigned>(__cvta_generic_to_shared(shared))),
               "l"(from), "r"(inside ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void copy_async4(void* shared, const void* from, bool inside) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;\n" ::"r"(
                   static_cast<unsigned>(__cvta_generic_to_shared(shared))),
               "l"(from), "r"(inside ? 4 : 0)
               : "memory");
}
// Until this thread's copies have landed; other threads see them after a barrier.
__device__ __forceinline__ void copy_async_wait() { asm volatile("cp.async.wait_all;\n" ::: "memory"); }

// The same value, of which the compiler knows nothing: what follows from it is computed where it is needed,
// instead of staying in registers over the loop around.
__device__ __forceinline__ int recomputed(int v) {
  asm volatile("" : "+r"(v));
  return v;
}

// 2^x to about 2 ulp; results below 2^-126 are zero.
__device__ __forceinline__ float exp2_approximate(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(y) : "f"(x));
  return y;
}

#else

namespace emulated {

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
  bool inside;
};
inline std::vector<Copy> pending[::simt::kMostThreads];

inline std::vector<Copy>& pending_of_this_thread() {
  const uint3 i = threadIdx;
  return pending[(i.z * blockDim.y + i.y) * blockDim.x + i.x];
}

inline void check_aligned(const void* p, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(p) % bytes != 0)
    throw ::simt::Failure("an address of a tile is not a multiple of its access");
}

inline void copy_async(void* shared, const void* from, size_t bytes, bool inside) {
  check_aligned(shared, bytes);
  if (inside) check_aligned(from, bytes);
  std::memset(shared, 0xff, bytes);  // NaN until it lands
  ::simt::Unseen unseen;
  pending_of_this_thread().push_back({shared, from, bytes, inside});
}

inline void load_matrices(unsigned (&r)[4], const void* row, bool transposed, int line) {
  check_aligned(row, 16);
  ::simt::Machine& machine = ::simt::Machine::get();
  const uint64_t* shown = machine.exchange(~0u, reinterpret_cast<uint64_t>(row), line, nullptr, false);
  const unsigned char* rows[32];
  {
    ::simt::Unseen unseen;
    for (int i = 0; i < 32; ++i) rows[i] = reinterpret_cast<const unsigned char*>(shown[i]);
  }
  const unsigned g = machine.lane() / 4, t = machine.lane() % 4;
  for (unsigned m = 0; m < 4; ++m) {
    if (!transposed) {
      std::memcpy(&r[m], rows[8 * m + g] + 4 * t, 4);
      continue;
    }
    unsigned short pair[2];
    for (unsigned e = 0; e < 2; ++e) std::memcpy(&pair[e], rows[8 * m + 2 * t + e] + 2 * g, 2);
    std::memcpy(&r[m], pair, 4);
  }
}

}  // namespace emulated

inline void load_matrices(unsigned (&r)[4], const void* row, int line = __builtin_LINE()) {
  emulated::load_matrices(r, row, false, line);
}
inline void load_matrices_transposed(unsigned (&r)[4], const void* row, int line = __builtin_LINE()) {
  emulated::load_matrices(r, row, true, line);
}
inline void copy_async16(void* shared, const void* from, bool inside) {
  emulated::copy_async(shared, from, 16, inside);
}
inline void copy_async4(void* shared, const void* from, bool inside) {
  emulated::copy_async(shared, from, 4, inside);
}
inline void copy_async_wait() {
  std::vector<emulated::Copy> landing;
  {
    ::simt::Unseen unseen;
    landing.swap(emulated::pending_of_this_thread());
  }
  for (const emulated::Copy& c : landing) {
    if (c.inside)
      std::memcpy(c.to, c.from, c.bytes);
    else
      std::memset(c.to, 0, c.bytes);
  }
}

inline int recomputed(int v) { return v; }
inline float exp2_approximate(float x) {
  const float y = std::exp2(x);
  return y < 0x1p-126f ? 0.0f : y;
}

#endif

}  // namespace reckon::ops::gpu
