// The axes of a tensor that are summed, or those that stay, with neighbours that are walked as one
// merged. For plans and kernels.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

struct SumAxes {
  int64_t extent[kMaxRank] = {}, stride[kMaxRank] = {};
  int n = 0;

  RECKON_INLINE constexpr void add(int64_t e, int64_t s) {
    if (e == 1) return;
    if (n > 0 && stride[n - 1] == s * e) {
      extent[n - 1] *= e;
      stride[n - 1] = s;
      return;
    }
    extent[n] = e;
    stride[n++] = s;
  }
  RECKON_INLINE constexpr int64_t count() const {
    int64_t c = 1;
    for (int i = 0; i < n; ++i) c *= extent[i];
    return c;
  }
  RECKON_INLINE constexpr int64_t offset(int64_t index) const {
    if (n == 1) return index * stride[0];
    int64_t o = 0;
    for (int i = n - 1; i >= 0; --i) {
      o += index % extent[i] * stride[i];
      index /= extent[i];
    }
    return o;
  }
};

// What a sum does: `kept` runs over the results, `reduced` over the terms of each.
struct SumWalk {
  SumAxes kept, reduced;
  int64_t n_out = 1, n_reduced = 1;
  bool along = false;  // the terms of a result are the nearer neighbours; else the results are

  // On a GPU. Few results with many terms are summed in pieces of their terms by
  // many blocks, then over the pieces.
  RECKON_INLINE constexpr int64_t pieces() const {
    constexpr int64_t blocks_wanted = 1024;
    const int64_t inner = kept.n > 0 ? kept.extent[kept.n - 1] : 1;
    const int64_t blocks = along ? n_out : (n_out > 0 ? n_out / inner * ((inner + 127) / 128) : 0),
                  least = along ? 4096 : 64;
    if (blocks == 0 || blocks >= blocks_wanted / 2) return 1;
    const int64_t most = (n_reduced + least - 1) / least, wanted = blocks_wanted / blocks;
    return most < 1 ? 1 : (most < wanted ? most : wanted);
  }
  // Terms of a piece, a multiple of four.
  RECKON_INLINE constexpr int64_t piece() const { return ((n_reduced + pieces() - 1) / pieces() + 3) / 4 * 4; }
};

RECKON_INLINE constexpr SumWalk sum_walk(int rank, const int64_t* shape, const int64_t* strides,
                                         uint32_t axes) {
  SumWalk w;
  for (int i = 0; i < rank; ++i) ((axes >> i) & 1u ? w.reduced : w.kept).add(shape[i], strides[i]);
  w.n_out = w.kept.count();
  w.n_reduced = w.reduced.count();
  w.along =
      w.reduced.n > 0 && (w.kept.n == 0 || w.reduced.stride[w.reduced.n - 1] < w.kept.stride[w.kept.n - 1]);
  return w;
}

}  // namespace reckon::ops
