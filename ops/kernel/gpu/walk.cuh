// From the number of an element (or of a group or word of them) to where each operand keeps it: mixed-radix
// digits of the number, multiplied with strides. Axes are merged on the host and passed by value; a broadcast
// axis has stride 0. Called by every kernel that takes strides.
#pragma once

#include "ops/kernel/gpu/device.cuh"

namespace reckon::ops::gpu {

// Quotients by a fixed divisor: a product's upper half, an addition and a shift (Granlund and
// Montgomery 1994), with the factor 2^b (2^shift - d) / d rounded up. b = 32 serves dividends below
// 2^31, b = 64 those below 2^63.
struct Divisor {
  uint64_t factor = 1;
  uint32_t shift = 0;

  Divisor() = default;
  Divisor(int64_t d, bool narrow) {
    while (shift < 62 && (int64_t{1} << shift) < d) ++shift;
    const unsigned __int128 excess = (uint64_t{1} << shift) - static_cast<uint64_t>(d);
    factor = static_cast<uint64_t>((excess << (narrow ? 32 : 64)) / static_cast<uint64_t>(d)) + 1;
  }
  __device__ __forceinline__ uint32_t divide_narrow(uint32_t n) const {
    return (__umulhi(n, static_cast<uint32_t>(factor)) + n) >> shift;
  }
  __device__ __forceinline__ uint64_t divide_wide(uint64_t n) const {
    return (__umul64hi(n, factor) + n) >> shift;
  }
};

// A number below `limit` as `quotient * by + rest`.
struct Split {
  int64_t by = 1;
  Divisor divisor;
  bool narrow = true;

  Split() = default;
  Split(int64_t by_, int64_t limit)
      : by(by_ > 0 ? by_ : 1), narrow(limit <= int64_t{1} << 31 && by_ < int64_t{1} << 31) {
    divisor = Divisor(by, narrow);
  }
  __device__ __forceinline__ int64_t operator()(int64_t i, int64_t* rest) const {
    const int64_t quotient = narrow ? static_cast<int64_t>(divisor.divide_narrow(static_cast<uint32_t>(i)))
                                    : static_cast<int64_t>(divisor.divide_wide(static_cast<uint64_t>(i)));
    *rest = i - quotient * by;
    return quotient;
  }
};

inline constexpr int kMostAxes = kMaxRank + 1;  // a copy in bytes has one more

// Axis 0 is the innermost. `count` numbers are walked.
template <int N>
struct Walk {
  int64_t count = 0;
  int axes = 1;
  bool narrow = true;            // count < 2^31
  int64_t outer_stride[N] = {};  // of the outermost axis, whose digit needs no division
  int64_t extent[kMostAxes] = {1};
  int64_t stride[N][kMostAxes] = {};
  Divisor divisor[kMostAxes];

  // After extents and strides are set.
  void finish() {
    count = 1;
    for (int a = 0; a < axes; ++a) count *= extent[a];
    narrow = count < int64_t{1} << 31;
    for (int a = 0; a < axes && count > 0; ++a) divisor[a] = Divisor(extent[a], narrow);
    for (int k = 0; k < N; ++k) outer_stride[k] = stride[k][axes - 1];
  }

  __device__ __forceinline__ void offsets(int64_t i, int64_t (&at)[N]) const {
#pragma unroll
    for (int k = 0; k < N; ++k) at[k] = 0;
    if (narrow) {
      uint32_t rest = static_cast<uint32_t>(i);
#pragma unroll 1
      for (int a = 0; a < axes - 1; ++a) {
        const uint32_t quotient = divisor[a].divide_narrow(rest),
                       digit = rest - quotient * static_cast<uint32_t>(extent[a]);
#pragma unroll
        for (int k = 0; k < N; ++k) at[k] += int64_t{digit} * stride[k][a];
        rest = quotient;
      }
#pragma unroll
      for (int k = 0; k < N; ++k) at[k] += int64_t{rest} * outer_stride[k];
    } else {
      uint64_t rest = static_cast<uint64_t>(i);
#pragma unroll 1
      for (int a = 0; a < axes - 1; ++a) {
        const uint64_t quotient = divisor[a].divide_wide(rest);
        const int64_t digit = static_cast<int64_t>(rest - quotient * static_cast<uint64_t>(extent[a]));
#pragma unroll
        for (int k = 0; k < N; ++k) at[k] += digit * stride[k][a];
        rest = quotient;
      }
#pragma unroll
      for (int k = 0; k < N; ++k) at[k] += static_cast<int64_t>(rest) * outer_stride[k];
    }
  }
};

// The walk over `shape` (outermost axis first) of operands with these strides: axes of one element vanish,
// neighbours that every operand steps through as one are merged.
template <int N>
Walk<N> merged_walk(int rank, const int64_t* shape, const int64_t (&strides)[N][kMaxRank]) {
  Walk<N> w;
  w.axes = 0;
  for (int a = rank - 1; a >= 0; --a) {
    if (shape[a] == 1) continue;
    bool merges = w.axes > 0;
    for (int k = 0; merges && k < N; ++k)
      merges = strides[k][a] == w.stride[k][w.axes - 1] * w.extent[w.axes - 1];
    if (merges) {
      w.extent[w.axes - 1] *= shape[a];
      continue;
    }
    w.extent[w.axes] = shape[a];
    for (int k = 0; k < N; ++k) w.stride[k][w.axes] = strides[k][a];
    ++w.axes;
  }
  if (w.axes == 0) w.axes = 1;
  w.finish();
  return w;
}

}  // namespace reckon::ops::gpu
