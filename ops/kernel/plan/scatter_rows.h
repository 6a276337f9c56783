// What plans and kernels of row sums by index share (see scatter_rows.cuh): sizes of the workspaces.
#pragma once

#include <cstddef>
#include <cstdint>

namespace reckon::ops {

inline constexpr int64_t kListPiece = 2048;  // positions that one block puts in order
inline constexpr int64_t kListWindow = 64;   // positions of one index in a row that are summed ahead

struct ScatterWorkspaces {
  size_t heads, order, runs, window_sums;  // bytes
};

// n indices into an axis of `extent`; `columns` elements belong to each.
constexpr ScatterWorkspaces scatter_workspaces(int64_t n, int64_t extent, int64_t columns) {
  const auto at_least_one = [](int64_t x) { return static_cast<size_t>(x > 1 ? x : 1); };
  return {at_least_one(extent) * 4, at_least_one(n) * 4, at_least_one(n) * 8,
          at_least_one(n / kListWindow * columns) * 4};
}

}  // namespace reckon::ops
