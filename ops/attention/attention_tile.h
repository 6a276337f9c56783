// Pieces of the tiled attention kernels: products of a tile, conversions and transposes, loops over tasks. A
// tile holds its 64 lanes (queries in the forward pass and dq, keys in dk and dv) side by side, so that softmax
// statistics of the lanes are vectors and the other operand is read one number at a time from where it lies.
// The products themselves come from a tile engine: FloatTiles here, AmxTiles in attention_amx_tiles.h.
#pragma once

#include <omp.h>

#include "ops/attention/attention_attrs.h"
#include "ops/kernel/cpu/elementwise.h"
#include "ops/kernel/cpu/gemm_simd.h"

namespace reckon::ops::RECKON_ISA {
namespace {

constexpr int64_t kBlock = kAttentionBlock;
constexpr int kWidth = kLanes<float>;
#if defined(__AVX512F__)
constexpr int kTileRows = 8;
#else
constexpr int kTileRows = 6;
#endif

RECKON_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
RECKON_INLINE int64_t blocks_of(int64_t n) { return (n + kBlock - 1) / kBlock; }
RECKON_INLINE int64_t padded_lanes(int64_t n) { return (n + 2 * kWidth - 1) / (2 * kWidth) * (2 * kWidth); }

// exp(x) for x <= 0 (or a rounding error above): k_exp without its upper range, so that
// the power of two is one factor.
RECKON_INLINE float exp_of_negative(float x) {
  const float clamped = x < -87.336f ? -87.336f : x;
  const float n = __builtin_floorf(clamped * 1.44269504088896f + 0.5f);
  const float r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const float y = p * __builtin_bit_cast(float, (static_cast<int32_t>(n) + 127) << 23);
  return x < -87.336f ? 0.0f : y;
}

struct TileFactors {
  const float* a;
  int64_t a_row, a_step;
  const float* b;
  int64_t b_row;
  float* c;
  int64_t c_row;
};

template <int ROWS>
inline void tile_product_rows(int64_t steps, TileFactors f, bool accumulate) {
  Floats sums[ROWS][2];
  int64_t offset[ROWS];
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r) {
    offset[r] = r * f.a_row;
    sums[r][0] = accumulate ? load(f.c + r * f.c_row) : Floats{};
    sums[r][1] = accumulate ? load(f.c + r * f.c_row + kWidth) : Floats{};
  }
  const float *a = f.a, *b = f.b;
  for (int64_t p = 0; p < steps; ++p) {
    const Floats b0 = load(b), b1 = load(b + kWidth);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      const Floats x = broadcast(a + offset[r]);
      sums[r][0] = multiply_add(x, b0, sums[r][0]);
      sums[r][1] = multiply_add(x, b1, sums[r][1]);
    }
    a += f.a_step;
    b += f.b_row;
  }
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r) {
    store(f.c + r * f.c_row, sums[r][0]);
    store(f.c + r * f.c_row + kWidth, sums[r][1]);
  }
}

template <int ROWS>
RECKON_INLINE void tile_product_tail(int64_t rows, int64_t steps, const TileFactors& f, bool accumulate) {
  if constexpr (ROWS > 0) {
    if (rows == ROWS)
      tile_product_rows<ROWS>(steps, f, accumulate);
    else
      tile_product_tail<ROWS - 1>(rows, steps, f, accumulate);
  }
}

// c[rows][lanes] (+)= a[rows][steps] b[steps][lanes], lanes a multiple of two vectors. Not inlined: seven
// callers, each of which would hold every row count unrolled.
[[gnu::noinline]] inline void tile_product(int64_t rows, int64_t steps, const TileFactors& f, int64_t lanes,
                                           bool accumulate) {
  for (int64_t lane = 0; lane < lanes; lane += 2 * kWidth) {
    TileFactors part = f;
    part.b += lane;
    part.c += lane;
    int64_t r = 0;
    for (; r + kTileRows <= rows; r += kTileRows) {
      tile_product_rows<kTileRows>(steps, part, accumulate);
      part.a += kTileRows * f.a_row;
      part.c += kTileRows * f.c_row;
    }
    tile_product_tail<kTileRows - 1>(rows - r, steps, part, accumulate);
  }
}

// The rows x columns that exist of a square of kWidth, in a square of zeros.
template <class S>
[[gnu::noinline]] inline void copy_edge(const S* from, int64_t row_stride, int64_t rows, int64_t columns,
                                        S* square) {
  __builtin_memset(static_cast<void*>(square), 0, kWidth * kWidth * sizeof(S));
  for (int64_t r = 0; r < rows; ++r)
    __builtin_memcpy(static_cast<void*>(square + r * kWidth), from + r * row_stride,
                     static_cast<size_t>(columns) * sizeof(S));
}

// f(column, first_row, v): the kWidth rows from first_row of one column as a vector, zeros
// past `rows`, up to `padded` rows.
template <class S, class F>
RECKON_INLINE void for_columns(const S* from, int64_t row_stride, int64_t rows, int64_t padded, int64_t columns,
                               F&& f) {
  alignas(64) S square[kWidth * kWidth];
  for (int64_t r = 0; r < padded; r += kWidth)
    for (int64_t c = 0; c < columns; c += kWidth) {
      const int64_t n = smaller(columns - c, kWidth), m = rows - r < kWidth ? rows - r : kWidth;
      const S* p = from + r * row_stride + c;
      int64_t stride = row_stride;
      if (n < kWidth || m < kWidth) {
        copy_edge(p, row_stride, m, n, square);
        p = square;
        stride = kWidth;
      }
      Floats t[kWidth];
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) t[i] = load(p + i * stride);
      transpose(t);
      for (int i = 0; i < n; ++i) f(c + i, r, t[i]);
    }
}

template <class F>
RECKON_INLINE void with_pointer(const TensorArg& t, int64_t offset, F&& f) {
  if (t.dtype == DType::bf16)
    f(t.as<bf16>() + offset);
  else if (t.dtype == DType::f16)
    f(t.as<f16>() + offset);
  else
    f(t.as<float>() + offset);
}

// to[d][lane] = rows of t, lanes past n zero.
inline void pack_lanes(const TensorArg& t, int64_t offset, int64_t row_stride, int64_t n, int64_t D,
                       float* to) {
  with_pointer(t, offset, [&](const auto* p) {
    for_columns(p, row_stride, n, padded_lanes(n), D,
                [&](int64_t d, int64_t lane, Floats v) { store(to + d * kBlock + lane, v); });
  });
}

// rows of t = factor[lane] * from[d][lane].
inline void unpack_lanes(const float* from, const float* factor, int64_t n, int64_t D, const TensorArg& t,
                         int64_t offset, int64_t row_stride) {
  with_pointer(t, offset, [&](auto* p) {
    for_columns(from, kBlock, D, (D + kWidth - 1) / kWidth * kWidth, n, [&](int64_t lane, int64_t d, Floats v) {
      auto* to = p + lane * row_stride + d;
      v *= broadcast(factor + lane);
      if (D - d >= kWidth)
        store(to, v);
      else
        store_partial(to, v, D - d);
    });
  });
}

// Products of f32 numbers. Left operands are [rows][steps], right ones [steps][lanes]; `slot` (0 or 1) names
// the buffers that an operand may take, valid until the slot is used again.
class FloatTiles {
 public:
  static constexpr bool kAmx = false;
  struct Rows {
    const float* data;
    int64_t stride;
  };
  struct Left {
    const float* data;
    int64_t row, step;
  };
  struct Right {
    const float* data;
    int64_t row;
  };

  FloatTiles(float* base, int64_t D, bool backward) : D_(D), width_(attention_padded_width(D)) {
    for (int i = 0; i < 2; ++i) rows_[i] = base + i * kBlock * D;
    for (int i = 0; i < (backward ? 2 : 1); ++i) lanes_[i] = base + (2 + i) * kBlock * D;
    keys_ = base + 4 * kBlock * D;
  }

  // n rows of t as lanes, those past n zero.
  Right lanes(int slot, const TensorArg& t, int64_t offset, int64_t row_stride, int64_t n) const {
    pack_lanes(t, offset, row_stride, n, D_, lanes_[slot]);
    return {lanes_[slot], kBlock};
  }
  // n rows of t: in place, or converted.
  Rows rows(int slot, const TensorArg& t, int64_t offset, int64_t row_stride, int64_t n) const {
    if (t.dtype == DType::f32) return {t.as<float>() + offset, row_stride};
    for (int64_t i = 0; i < n; ++i)
      load_tile<float>(t.data, t.dtype, offset + i * row_stride, 1, D_, rows_[slot] + i * D_);
    return {rows_[slot], D_};
  }
  Left by_rows(const Rows& r) const { return {r.data, r.stride, 1}; }
  Left by_columns(int, const Rows& r, int64_t) const { return {r.data, 1, r.stride}; }
  // A tile of numbers, 64 to a row, as either operand: n rows of it are steps, or m columns of it are.
  Right weights(const float* tile, int64_t, int64_t) const { return {tile, kBlock}; }
  Left weight_rows(const float* tile, int64_t, int64_t) const { return {tile, kBlock, 1}; }
  // n rows of t as steps, their width padded with zeros.
  Right keys(const TensorArg& t, int64_t offset, int64_t row_stride, int64_t n) const {
    for (int64_t j = 0; j < n; ++j) {
      float* to = keys_ + j * width_;
      const float* from = load_tile<float>(t.data, t.dtype, offset + j * row_stride, 1, D_, to);
      for (int64_t d = 0; d < width_; ++d) to[d] = d < D_ ? from[d] : 0.0f;
    }
    return {keys_, width_};
  }

  // c[rows][lanes] (+)= a b, rows of c `c_row` apart.
  void product(int64_t rows, int64_t steps, const Left& a, const Right& b, float* c, int64_t c_row,
               int64_t lanes, bool accumulate) const {
    tile_product(rows, steps, {a.data, a.row, a.step, b.data, b.row, c, c_row}, lanes, accumulate);
  }

 private:
  int64_t D_, width_;
  float *rows_[2], *lanes_[2] = {}, *keys_;
};

// body(slot, task) for every task; no two tasks run in one slot at a time.
template <class F>
inline void parallel_tasks(const KernelArgs& args, int64_t n, int64_t work_per_task, F&& body) {
  if (args.threads <= 1 || n <= 1 || n * work_per_task < 65536) {
    for (int64_t t = 0; t < n; ++t) body(0, t);
    return;
  }
#pragma omp parallel for schedule(dynamic, 1) num_threads(args.threads)
  for (int64_t t = 0; t < n; ++t) body(omp_get_thread_num(), t);
}

// Offset of (b, n, h) by the first three strides; an axis of extent 1 is broadcast.
RECKON_INLINE int64_t head_offset(const TensorArg& t, int64_t b, int64_t n, int64_t h) {
  return (t.shape[0] == 1 ? 0 : b * t.strides[0]) + (t.shape[1] == 1 ? 0 : n * t.strides[1]) + h * t.strides[2];
}

// Terms that the key mask adds to the logits of keys [j, j + n).
inline void mask_terms(const TensorArg& mask, int64_t b, int64_t n, int64_t j, int64_t count, float value,
                       float* to) {
  if (!mask.defined()) {
    for (int64_t i = 0; i < count; ++i) to[i] = 0.0f;
    return;
  }
  const float* m =
      load_tile<float>(mask.data, mask.dtype, b * mask.strides[0] + n * mask.strides[1] + j * mask.strides[2],
                       mask.strides[2], count, to);
  for (int64_t i = 0; i < count; ++i) to[i] = (1.0f - m[i]) * value;
}

// scores[key][query] of a tile, from q k^T: scaled, masked, biased, minus infinity
// where causality hides the key.
inline void finish_scores_by_query(float* scores, const AttentionShape& s, float scale, const float* mask,
                                   const TensorArg& bias, int64_t bias_offset, int64_t i0, int64_t ni,
                                   int64_t j0, int64_t nj, int64_t lanes) {
  for (int64_t j = 0; j < nj; ++j) {
    float* row = scores + j * kBlock;
    const float m = mask[j];
#pragma omp simd
    for (int64_t i = 0; i < lanes; ++i) row[i] = row[i] * scale + m;
  }
  if (bias.defined()) {
    const int64_t stride = bias.strides[3];
    with_pointer(bias, bias_offset + i0 * stride + j0, [&](const auto* p) {
      for_columns(p, stride, ni, ni, nj, [&](int64_t j, int64_t i, Floats v) {
        float* to = scores + j * kBlock + i;
        store(to, load(to) + v);
      });
    });
  }
  if (s.causal && j0 + nj > s.visible(i0))
    for (int64_t j = 0; j < nj; ++j) {
      const int64_t first = smaller(j0 + j - s.lead() - i0, lanes);  // the first query that sees this key
      for (int64_t i = 0; i < first; ++i) scores[j * kBlock + i] = -__builtin_inff();
    }
}

// The same for scores[query][key].
inline void finish_scores_by_key(float* scores, const AttentionShape& s, float scale, const float* mask,
                                 const TensorArg& bias, int64_t bias_offset, int64_t i0, int64_t ni, int64_t j0,
                                 int64_t nj, int64_t lanes) {
  alignas(64) float buffer[kBlock];
  for (int64_t i = 0; i < ni; ++i) {
    float* row = scores + i * kBlock;
#pragma omp simd
    for (int64_t j = 0; j < lanes; ++j) row[j] = row[j] * scale + mask[j];
    if (bias.defined()) {
      const float* v =
          load_tile<float>(bias.data, bias.dtype, bias_offset + (i0 + i) * bias.strides[3] + j0, 1, nj, buffer);
#pragma omp simd
      for (int64_t j = 0; j < nj; ++j) row[j] += v[j];
    }
    if (s.causal)
      for (int64_t j = s.visible(i0 + i) > j0 ? s.visible(i0 + i) - j0 : 0; j < lanes; ++j)
        row[j] = -__builtin_inff();
  }
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA
