// What all attention kernels are told, by value: extents, where the heads of each operand lie, and how tiles of
// keys and of the bias become logits.
#pragma once

#include "ops/attention/attention_attrs.h"
#include "ops/kernel/gpu/elements.cuh"
#include "ops/kernel/gpu/launch.cuh"

namespace reckon::ops::gpu {

// A tensor of heads whose last axis has unit stride: [batch, rows, heads, length, width], or the bias. Strides
// in elements; an axis of extent 1 has stride 0, so that a broadcast needs no case of its own.
struct Heads {
  void* data = nullptr;
  DType dtype = DType::f32;
  bool by_eight = false;  // rows may be accessed eight elements at a time
  int64_t b = 0, n = 0, h = 0, row = 0;

  __device__ int64_t at(int ib, int in, int ih) const { return ib * b + in * n + ih * h; }
  __device__ explicit operator bool() const { return data != nullptr; }
};

struct AttentionProblem {
  int B = 0, N = 0, H = 0, Hkv = 0, Lq = 0, Lk = 0, D = 0;
  bool causal = false;
  float scale = 1, mask_value = 0;
  Heads q, k, v, bias;
  Elements mask;  // [B, N, Lk]
  int64_t mask_b = 0, mask_n = 0, mask_j = 0;

  __device__ int lead() const { return Lk - Lq; }
  __device__ int group() const { return H / Hkv; }
  // Where a head's rows begin in [B, N, H, Lq], and how many rows there are.
  __device__ int64_t head_row(int b, int n, int h) const { return ((int64_t{b} * N + n) * H + h) * Lq; }
  __device__ int64_t rows() const { return head_row(B, 0, 0); }
  // Keys that any of the queries [.., last] sees.
  __device__ int keys_until(int last) const {
    const int seen = last + lead() + 1;
    return causal && seen < Lk ? seen : Lk;
  }
};

inline Heads heads(const TensorArg& t, int b, int n, int h, int row) {
  if (!t.defined()) return {};
  const int axes[] = {b, n, h, row};
  bool by_eight = t.last() % 8 == 0 && reinterpret_cast<uintptr_t>(t.data) % 16 == 0;
  for (int a : axes) by_eight = by_eight && (t.shape[a] == 1 || t.strides[a] % 8 == 0);
  const auto stride = [&](int a) { return t.shape[a] == 1 ? 0 : t.strides[a]; };
  return {t.data, t.dtype, by_eight, stride(b), stride(n), stride(h), stride(row)};
}
inline Heads heads(const TensorArg& t) { return heads(t, 0, 1, 2, 3); }
// Of the output and its gradient, [batch, rows, length, heads, width].
inline Heads merged_heads(const TensorArg& t) { return heads(t, 0, 1, 3, 2); }
// A gradient whose axis p is axis axes[p] of what it belongs to.
inline Heads ordered_heads(const TensorArg& t, const int (&axes)[5]) {
  int at[5] = {};
  for (int p = 0; p < 5; ++p) at[axes[p]] = p;
  return heads(t, at[0], at[1], at[2], at[3]);
}

inline AttentionProblem attention_problem(const TensorArg& q, const TensorArg& k, const TensorArg& v,
                                          const TensorArg& mask, const TensorArg& bias,
                                          const AttentionAttrs& attrs) {
  AttentionProblem p;
  p.B = static_cast<int>(q.shape[0]), p.N = static_cast<int>(q.shape[1]);
  p.H = static_cast<int>(q.shape[2]), p.Hkv = static_cast<int>(k.shape[2]);
  p.Lq = static_cast<int>(q.shape[3]), p.Lk = static_cast<int>(k.shape[3]), p.D = static_cast<int>(q.shape[4]);
  p.causal = attrs.causal;
  p.scale = static_cast<float>(attrs.scale), p.mask_value = static_cast<float>(attrs.mask_value);
  p.q = heads(q), p.k = heads(k), p.v = heads(v), p.bias = heads(bias);
  if (mask.defined())
    p.mask = elements(mask), p.mask_b = mask.strides[0], p.mask_n = mask.strides[1], p.mask_j = mask.strides[2];
  return p;
}

// Whether the kernels for the tensor cores can take these: one 16-bit type, rows in multiples of 16 bytes.
// All else runs in f32 arithmetic.
template <class... H>
bool takes_tiles(const Heads& first, const H&... others) {
  return first.dtype != DType::f32 && first.by_eight &&
         ((others.dtype == first.dtype && others.by_eight) && ...);
}

// Calls body(std::integral_constant) with the padded width of a head.
template <class F>
void with_width(int64_t d, F&& body) {
  if (d <= 32)
    body(std::integral_constant<int, 32>{});
  else if (d <= 64)
    body(std::integral_constant<int, 64>{});
  else if (d <= 128)
    body(std::integral_constant<int, 128>{});
  else
    body(std::integral_constant<int, 256>{});
}

// Calls body(std::integral_constant) with the number of 16-row tiles that a warp takes: two (where the kernel
// has them) use what is read from shared memory twice, one makes enough blocks of a small problem.
template <bool kHasTwo, class F>
void with_tiles(int64_t heads, int length, F&& body) {
  constexpr int64_t kFewestBlocks = 264;  // two for each multiprocessor of an H100
  if constexpr (kHasTwo) {
    if (length > 64 && heads * ((length + 127) / 128) >= kFewestBlocks)
      return body(std::integral_constant<int, 2>{});
  }
  body(std::integral_constant<int, 1>{});
}

// Which tile of which head a block works on. Blocks of one head follow each other, so that its keys
// stay in the cache; where causality makes tiles unequal, the last tiles of all heads (the most work
// for queries) come first, or the first tile with the last one, the second with the last but one: the
// most work for keys with the least.
enum class TileOrder { in_turn, last_first, folded };

struct HeadTile {
  int b, n, h, tile;

  __device__ HeadTile(unsigned block, unsigned blocks, unsigned rows, unsigned heads, unsigned tiles,
                      TileOrder order) {
    const unsigned all = blocks / tiles, half = (tiles + 1) / 2,
                   turn = order == TileOrder::in_turn ? block % tiles : block / all;
    const unsigned head = order == TileOrder::in_turn ? block / tiles : block % all;
    tile = static_cast<int>(turn);
    if (order == TileOrder::last_first || (order == TileOrder::folded && turn >= half))
      tile = static_cast<int>(tiles - 1 - turn);
    if (order == TileOrder::folded && turn >= half) tile += static_cast<int>(half);
    h = static_cast<int>(head % heads), n = static_cast<int>(head / heads % rows),
    b = static_cast<int>(head / heads / rows);
  }
};

// The key mask of a head's keys: what it adds to the logits of key j, and minus infinity past the last key.
// Reading and converting are apart so that a tile's terms can be fetched while the tile before is worked on.
struct KeyTerms {
  Elements mask;
  int64_t at = 0, stride = 0;
  int keys;
  float value;

  __device__ KeyTerms(const AttentionProblem& p, int b, int n) : mask(p.mask), keys(p.Lk), value(p.mask_value) {
    at = b * p.mask_b + n * p.mask_n, stride = p.mask_j;
  }
  __device__ unsigned fetch(int j) const {
    if (!mask || j >= keys) return 0;
    const int64_t i = at + j * stride;
    return mask.dtype == DType::f32 ? static_cast<const unsigned*>(mask.data)[i]
                                    : static_cast<const unsigned short*>(mask.data)[i];
  }
  __device__ float term(int j, unsigned fetched) const {
    if (j >= keys) return -INFINITY;
    if (!mask) return 0.0f;
    float m = __uint_as_float(fetched);
    if (mask.dtype == DType::bf16) m = __uint_as_float(fetched << 16);
    if (mask.dtype == DType::f16) m = __half2float(__ushort_as_half(static_cast<unsigned short>(fetched)));
    return (1.0f - m) * value;
  }
};

}  // namespace reckon::ops::gpu
