// The maximum of a row and the sum of exp(x - maximum), for softmax and cross entropy.
#pragma once

#include "ops/kernel/gpu/register_rows.cuh"

namespace reckon::ops::gpu {

// What is subtracted before exp. A row of -infinity has nothing to subtract: its sum is 0, not exp(-infinity +
// infinity); nor has one with +infinity, whose sum is infinity.
__device__ __forceinline__ float exp_shift(float top) { return fabsf(top) == INFINITY ? 0.0f : top; }

struct ExpSum {
  float top, sum;  // the maximum, and the sum of exp(x - exp_shift(top))

  // For what divides by the sum: a row with +infinity is NaN then, as infinity - infinity is.
  __device__ __forceinline__ float finite_sum() const { return top == INFINITY ? NAN : sum; }
};

// Rows wider than kRegisterColumns are a block's.
inline constexpr int kWideRowThreads = 256;
using WideRowTile = RowTile<kWideRowThreads, 4, 1>;

// One pass, in which every thread keeps its own maximum and rescales its sum when that grows. `cells`: shared
// memory of 32 floats. With exact exponentials a vocabulary would be bound by arithmetic; those of __expf are
// off by (2 + |x|) ulp, and e^x |x| is below 0.4, so that the sum is as good.
__device__ __forceinline__ ExpSum wide_row_exp_sum(const Elements& x, int64_t row, int64_t c, bool fours,
                                                   float* cells) {
  ExpSum own{-INFINITY, 0.0f};
  for (int64_t j = 0; j < c; j += WideRowTile::kWidth) {
    const auto t = WideRowTile::of_row(row, c, j, fours);
    WideRowTile::Values v;
    t.load(x, -INFINITY, v);
    float top = own.top;
    t.each([&](int r, int k, int i) { top = fmaxf(top, v[r][k][i]); });
    const float shift = exp_shift(top);
    own.sum *= expf(own.top - shift);
    own.top = top;
    t.each([&](int r, int k, int i) { own.sum += __expf(v[r][k][i] - shift); });
  }
  const float top = block_max(own.top, cells);
  return {top, block_sum(own.sum * expf(own.top - exp_shift(top)), cells)};
}

// Rows in registers, -infinity where the tile holds nothing.
template <class Tile>
__device__ __forceinline__ void tile_exp_sums(const Tile& t, const typename Tile::Values& v,
                                              ExpSum (&sums)[Tile::kRows], float* cells) {
#pragma unroll
  for (int r = 0; r < Tile::kRows; ++r) {
    float top = -INFINITY;
    t.each_in_row([&](int k, int i) { top = fmaxf(top, v[r][k][i]); });
    sums[r].top = lanes_max<Tile::kLanes>(top, cells);
  }
#pragma unroll
  for (int r = 0; r < Tile::kRows; ++r) {
    const float shift = exp_shift(sums[r].top);
    float sum = 0;
    t.each_in_row([&](int k, int i) { sum += expf(v[r][k][i] - shift); });
    sums[r].sum = lanes_sum<Tile::kLanes>(sum, cells);
  }
}

}  // namespace reckon::ops::gpu
