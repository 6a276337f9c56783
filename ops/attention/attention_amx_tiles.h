// The tile engine of attention for bf16: products on AMX tiles with sums in f32; probabilities and gradients of
// scores are rounded to bf16 where they become operands. Included by attention_amx.cpp only.
#pragma once

#include "ops/attention/attention_tile.h"
#include "ops/kernel/cpu/amx_tiles.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// What FloatTiles offers. Left operands lie in rows of whole chunks of 32 steps, right ones
// as pairs of steps of each lane.
class AmxTiles {
 public:
  static constexpr bool kAmx = true;
  struct Rows {
    const bf16* data;
    int64_t stride;
  };
  struct Left {
    const bf16* data;
    int64_t row;
  };
  struct Right {
    const bf16* data;
    int64_t row;  // elements from one pair of steps to the next
  };

  AmxTiles(float* base, int64_t D, bool backward) : D_(D), width_(attention_padded_width(D)) {
    bf16* p = reinterpret_cast<bf16*>(base);
    const auto take = [&](int64_t n) { return p += n, p - n; };
    for (int i = 0; i < 2; ++i) rows_[i] = take(kBlock * width_), columns_[i] = take(kBlock * width_);
    for (int i = 0; i < (backward ? 2 : 1); ++i) lanes_[i] = take(kBlock * width_);
    weights_ = take(kBlock * kBlock);
    if (!backward) return;
    weight_rows_ = take(kBlock * kBlock);
    keys_ = take(kBlock * width_);
  }

  Right lanes(int slot, const TensorArg& t, int64_t offset, int64_t row_stride, int64_t n) const {
    bf16* to = lanes_[slot];
    const bf16* from = t.as<bf16>() + offset;
    for (int64_t lane = 0; lane < padded_lanes(n); lane += kTileLanes)
      for (int64_t d = 0; d < width_; d += kTileSteps) {
        Floats words[kTileLanes];
        read_tile<Order::lane_major>({from + lane * row_stride + d, row_stride, 1}, n - lane, D_ - d, words);
        transpose(words);
#pragma GCC unroll 16
        for (int i = 0; i < kTileLanes; ++i) store_words(to + (d / 2 + i) * 2 * kBlock + 2 * lane, words[i]);
      }
    return {to, 2 * kBlock};
  }

  Rows rows(int slot, const TensorArg& t, int64_t offset, int64_t row_stride, int64_t n) const {
    const bf16* from = t.as<bf16>() + offset;
    if (D_ == width_ && n % kTileLanes == 0) return {from, row_stride};
    bf16* to = rows_[slot];
    const int64_t padded = (n + kTileLanes - 1) / kTileLanes * kTileLanes;
    for (int64_t i = 0; i < padded; ++i)
      for (int64_t d = 0; d < width_; d += kTileSteps)
        _mm512_storeu_si512(to + i * width_ + d,
                            i < n && d < D_
                                ? _mm512_maskz_loadu_epi16(first_steps(D_ - d), from + i * row_stride + d)
                                : _mm512_setzero_si512());
    return {to, width_};
  }
  Left by_rows(const Rows& r) const { return {r.data, r.stride}; }
  Left by_columns(int slot, const Rows& r, int64_t n) const {
    bf16* to = columns_[slot];
    for (int64_t d = 0; d < D_; d += kTileLanes)
      for (int64_t j = 0; j < n; j += kTileSteps) {
        Floats words[kTileLanes];
        read_tile<Order::pair_major>({r.data + j * r.stride + d, 1, r.stride}, D_ - d, n - j, words);
        transpose(words);
#pragma GCC unroll 16
        for (int i = 0; i < kTileLanes; ++i) store_words(to + (d + i) * kBlock + j, words[i]);
      }
    return {to, kBlock};
  }

  // Steps are the n rows of the tile: pairs of rows, zeros past n.
  Right weights(const float* tile, int64_t n, int64_t lanes) const {
    const int64_t steps = (n + kTileSteps - 1) / kTileSteps * kTileSteps;
    for (int64_t i = 0; i < steps; i += 2)
      for (int64_t lane = 0; lane < lanes; lane += kTileLanes) {
        const Words even = i < n ? rounded_words(tile + i * kBlock + lane) : Words{},
                    odd = i + 1 < n ? rounded_words(tile + (i + 1) * kBlock + lane) : Words{};
        store_words(weights_ + i * kBlock + 2 * lane, reinterpret_cast<Floats>(even | odd << 16));
      }
    return {weights_, 2 * kBlock};
  }
  // Steps are the m columns of the tile: zeros past m.
  Left weight_rows(const float* tile, int64_t n, int64_t m) const {
    const auto part = [&](const float* row, int64_t j) {
      return m - j >= kWidth ? load(row + j) : (j < m ? load_partial(row + j, m - j) : Floats{});
    };
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < m; j += kTileSteps) {
        const float* row = tile + i * kBlock;
        write(weight_rows_ + i * kBlock + j,
              _mm512_cvtne2ps_pbh((__m512)part(row, j + kTileLanes), (__m512)part(row, j)));
      }
    return {weight_rows_, kBlock};
  }
  Right keys(const TensorArg& t, int64_t offset, int64_t row_stride, int64_t n) const {
    const bf16* from = t.as<bf16>() + offset;
    for (int64_t j = 0; j < n; j += kTileSteps)
      for (int64_t d = 0; d < width_; d += kTileLanes) {
        Floats words[kTileLanes] = {};
        if (d < D_)
          read_tile<Order::pair_major>({from + j * row_stride + d, 1, row_stride}, D_ - d, n - j, words);
#pragma GCC unroll 16
        for (int i = 0; i < kTileLanes; ++i) store_words(keys_ + (j / 2 + i) * 2 * width_ + 2 * d, words[i]);
      }
    return {keys_, 2 * width_};
  }

  void product(int64_t rows, int64_t steps, const Left& a, const Right& b, float* c, int64_t c_row,
               int64_t lanes, bool accumulate) const {
    const int64_t chunks = (steps + kTileSteps - 1) / kTileSteps;
    finish_pending_stores();
    for (int64_t lane = 0; lane < lanes; lane += 2 * kTileLanes) {
      int64_t r = 0;
      for (; r + 2 * kTileLanes <= rows; r += 2 * kTileLanes)
        multiply<2>(a.data + r * a.row, a.row, b.data + 2 * lane, b.row, chunks, c + r * c_row + lane, c_row,
                    accumulate);
      for (; r + kTileLanes <= rows; r += kTileLanes)
        multiply<1>(a.data + r * a.row, a.row, b.data + 2 * lane, b.row, chunks, c + r * c_row + lane, c_row,
                    accumulate);
      if (r == rows) continue;
      alignas(64) float last[kTileLanes * 2 * kTileLanes];
      multiply<1>(a.data + r * a.row, a.row, b.data + 2 * lane, b.row, chunks, last, 2 * kTileLanes, false);
      for (int64_t i = 0; r + i < rows; ++i)
        for (int64_t j = 0; j < 2 * kTileLanes; j += kWidth) {
          float* to = c + (r + i) * c_row + lane + j;
          const Floats sum = load(last + i * 2 * kTileLanes + j);
          store(to, accumulate ? load(to) + sum : sum);
        }
    }
  }

 private:
  template <Order ORDER>
  static RECKON_INLINE void read_tile(const Lanes& from, int64_t lanes, int64_t steps,
                                      Floats (&words)[kTileLanes]) {
    if (lanes >= kTileLanes && steps >= kTileSteps)
      read_whole_tile<ORDER>(from, words);
    else
      read_part_of_tile<ORDER>(from, lanes < 0 ? 0 : smaller(lanes, kTileLanes), steps, words);
  }
  static RECKON_INLINE void store_words(bf16* to, Floats words) { write(to, words); }
  static RECKON_INLINE Words rounded_words(const float* p) {
    return __builtin_convertvector((Halves)_mm512_cvtneps_pbh((__m512)load(p)), Words);
  }

  // 16 ROWS by 32 sums; strides in elements.
  template <int ROWS>
  static void multiply(const bf16* a, int64_t a_row, const bf16* b, int64_t b_row, int64_t chunks, float* c,
                       int64_t c_row, bool accumulate) {
    const int64_t a_bytes = 2 * a_row, b_bytes = 2 * b_row, c_bytes = 4 * c_row;
    float* lower = c + kTileLanes * c_row;
    if (accumulate) {
      _tile_loadd(0, c, c_bytes);
      _tile_loadd(1, c + kTileLanes, c_bytes);
      if constexpr (ROWS > 1) {
        _tile_loadd(2, lower, c_bytes);
        _tile_loadd(3, lower + kTileLanes, c_bytes);
      }
    } else {
      _tile_zero(0);
      _tile_zero(1);
      if constexpr (ROWS > 1) {
        _tile_zero(2);
        _tile_zero(3);
      }
    }
    for (int64_t chunk = 0; chunk < chunks; ++chunk, a += kTileSteps, b += kTileSteps / 2 * b_row) {
      _tile_loadd(4, a, a_bytes);
      _tile_loadd(6, b, b_bytes);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, b + 2 * kTileLanes, b_bytes);
      _tile_dpbf16ps(1, 4, 7);
      if constexpr (ROWS > 1) {
        _tile_loadd(5, a + kTileLanes * a_row, a_bytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
    }
    _tile_stored(0, c, c_bytes);
    _tile_stored(1, c + kTileLanes, c_bytes);
    if constexpr (ROWS > 1) {
      _tile_stored(2, lower, c_bytes);
      _tile_stored(3, lower + kTileLanes, c_bytes);
    }
  }

  TileUnit unit_;
  int64_t D_, width_;
  bf16 *rows_[2], *columns_[2], *lanes_[2] = {}, *weights_, *weight_rows_ = nullptr, *keys_ = nullptr;
};

}  // namespace
}  // namespace reckon::ops::RECKON_ISA
