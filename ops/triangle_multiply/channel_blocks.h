// Between rows [position][channel] and blocks [channel][position]: the triangle's sums run over
// positions, one channel at a time. Whole squares of lanes go through registers, what is left element by
// element; both give the same bits.
#pragma once

#include "ops/kernel/cpu/gemm_simd.h"
#include "ops/kernel/cpu/row_tiles.h"
#include "ops/triangle_multiply/triangle_multiply_attrs.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// Squares that fit: all of a block's channels, and positions up to the last multiple of the lanes.
template <class C>
RECKON_INLINE int64_t positions_in_squares(int64_t positions, int64_t nb, bool one_type) {
  constexpr int lanes = kLanes<float>;
  return sizeof(C) == sizeof(float) && one_type && nb % lanes == 0 ? positions / lanes * lanes : 0;
}

template <class S>
inline void gather_squares(const KernelArgs& args, int64_t squares, int64_t positions, int64_t ch0, int64_t nb,
                           Matrix value, const Matrix* gate, const TensorArg& mask, int64_t mask_row,
                           std::byte* block) {
  constexpr int lanes = kLanes<float>;
  parallel_ranges(args, squares, lanes * nb * 8, [&](int64_t first, int64_t last) {
    alignas(64) float v[lanes * lanes], g[lanes * lanes];
    for (int64_t square = first; square < last; ++square) {
      const int64_t r0 = square * lanes;
      for (int64_t k = 0; k < nb; k += lanes) {
        Floats rows[lanes];
        const S* from = reinterpret_cast<const S*>(value.data) + r0 * value.ld + ch0 + k;
#pragma GCC unroll 16
        for (int i = 0; i < lanes; ++i) rows[i] = load(from + i * value.ld);
        if (gate) {
          const S* gates = reinterpret_cast<const S*>(gate->data) + r0 * gate->ld + ch0 + k;
          for (int i = 0; i < lanes; ++i) {
            store(v + i * lanes, rows[i]);
            store(g + i * lanes, load(gates + i * gate->ld));
          }
#pragma omp simd
          for (int i = 0; i < lanes * lanes; ++i) v[i] = k_sigmoid(g[i]) * v[i];
          for (int i = 0; mask.defined() && i < lanes; ++i) {
            float cell;
            const float m = *load_tile<float>(mask.data, mask.dtype, mask_row + r0 + i, 1, 1, &cell);
#pragma omp simd
            for (int j = 0; j < lanes; ++j) v[i * lanes + j] = v[i * lanes + j] * m;
          }
#pragma GCC unroll 16
          for (int i = 0; i < lanes; ++i) rows[i] = load(v + i * lanes);
        }
        transpose(rows);
        S* to = reinterpret_cast<S*>(block) + k * positions + r0;
#pragma GCC unroll 16
        for (int i = 0; i < lanes; ++i) store(to + i * positions, rows[i]);
      }
    }
  });
}

template <class S>
inline void scatter_squares(const KernelArgs& args, int64_t squares, int64_t positions, int64_t ch0, int64_t nb,
                            const std::byte* block, Matrix to) {
  constexpr int lanes = kLanes<float>;
  parallel_ranges(args, squares, lanes * nb * 2, [&](int64_t first, int64_t last) {
    for (int64_t square = first; square < last; ++square) {
      const int64_t r0 = square * lanes;
      for (int64_t k = 0; k < nb; k += lanes) {
        const S* from = reinterpret_cast<const S*>(block) + k * positions + r0;
        Floats rows[lanes];
#pragma GCC unroll 16
        for (int i = 0; i < lanes; ++i) rows[i] = load(from + i * positions);
        transpose(rows);
        S* out = reinterpret_cast<S*>(to.data) + r0 * to.ld + ch0 + k;
#pragma GCC unroll 16
        for (int i = 0; i < lanes; ++i) store(out + i * to.ld, rows[i]);
      }
    }
  });
}

// Copies channels [ch0, ch0 + nb) of `positions` rows into block[channel][position], gating on the way:
// sigmoid(gate) * value * mask. Without `gate` they are copied as they are.
template <class C>
inline void gather_channels(const KernelArgs& args, int64_t positions, int64_t ch0, int64_t nb, Matrix value,
                            const Matrix* gate, const TensorArg& mask, int64_t mask_row, std::byte* block,
                            DType block_type) {
  const bool one_type = value.dtype == block_type && (!gate || gate->dtype == block_type);
  const int64_t done = positions_in_squares<C>(positions, nb, one_type);
  if (done > 0) {
    const auto squares = [&](auto stored) {
      gather_squares<decltype(stored)>(args, done / kLanes<float>, positions, ch0, nb, value, gate, mask,
                                       mask_row, block);
    };
    block_type == DType::f32 ? squares(float{}) : block_type == DType::bf16 ? squares(bf16{}) : squares(f16{});
  }
  constexpr int64_t kRows = 64;
  const int64_t left = positions - done;
  parallel_ranges(args, (left + kRows - 1) / kRows, kRows * nb * 8, [&](int64_t first, int64_t last) {
    alignas(64) C vb[kMostTriangleChannels], gb[kMostTriangleChannels], columns[kMostTriangleChannels][kRows];
    for (int64_t piece = first; piece < last; ++piece) {
      const int64_t r0 = done + piece * kRows, rows = positions - r0 < kRows ? positions - r0 : kRows;
      for (int64_t r = 0; r < rows; ++r) {
        const C* v = load_tile<C>(value.data, value.dtype, (r0 + r) * value.ld + ch0, 1, nb, vb);
        if (gate) {
          const C* g = load_tile<C>(gate->data, gate->dtype, (r0 + r) * gate->ld + ch0, 1, nb, gb);
#pragma omp simd
          for (int64_t k = 0; k < nb; ++k) vb[k] = k_sigmoid(g[k]) * v[k];
          v = vb;
          if (mask.defined()) {
            C cell;
            const C m = *load_tile<C>(mask.data, mask.dtype, mask_row + r0 + r, 1, 1, &cell);
            for (int64_t k = 0; k < nb; ++k) vb[k] = vb[k] * m;
          }
        }
        for (int64_t k = 0; k < nb; ++k) columns[k][r] = v[k];
      }
      for (int64_t k = 0; k < nb; ++k) store_tile<C>(block, block_type, k * positions + r0, rows, columns[k]);
    }
  });
}

// The way back: block[channel][position] into channels [ch0, ch0 + nb) of the rows.
template <class C>
inline void scatter_channels(const KernelArgs& args, int64_t positions, int64_t ch0, int64_t nb,
                             std::byte* block, DType block_type, Matrix to) {
  const int64_t done = positions_in_squares<C>(positions, nb, to.dtype == block_type);
  if (done > 0) {
    const auto squares = [&](auto stored) {
      scatter_squares<decltype(stored)>(args, done / kLanes<float>, positions, ch0, nb, block, to);
    };
    block_type == DType::f32 ? squares(float{}) : block_type == DType::bf16 ? squares(bf16{}) : squares(f16{});
  }
  constexpr int64_t kRows = 64;
  const int64_t left = positions - done;
  parallel_ranges(args, (left + kRows - 1) / kRows, kRows * nb * 2, [&](int64_t first, int64_t last) {
    alignas(64) C buffer[kRows], rows_of_block[kRows][kMostTriangleChannels];
    for (int64_t piece = first; piece < last; ++piece) {
      const int64_t r0 = done + piece * kRows, rows = positions - r0 < kRows ? positions - r0 : kRows;
      for (int64_t k = 0; k < nb; ++k) {
        const C* v = load_tile<C>(block, block_type, k * positions + r0, 1, rows, buffer);
        for (int64_t r = 0; r < rows; ++r) rows_of_block[r][k] = v[r];
      }
      for (int64_t r = 0; r < rows; ++r)
        store_tile<C>(to.data, to.dtype, (r0 + r) * to.ld + ch0, nb, rows_of_block[r]);
    }
  });
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA
