// The tiled backward kernels of attention for f32, bf16 and f16, in one pass or two (AttentionPasses). Every
// sum runs in an order given by the shapes alone.
#pragma once

#include "ops/attention/attention_tile.h"

namespace reckon::ops::RECKON_ISA {
namespace {

struct BackwardTiles {
  float *sums[2], *scores, *gradient, *mask, *top, *log_sum, *delta, *factor, *operands;
  BackwardTiles(std::byte* base, int64_t slot, int64_t D, bool amx) {
    float* p = reinterpret_cast<float*>(base) + slot * attention_tile_floats(D, true, amx);
    for (int i = 0; i < 2; ++i) sums[i] = p + i * kBlock * D;
    scores = p + 2 * kBlock * D, gradient = scores + kBlock * kBlock, mask = gradient + kBlock * kBlock;
    top = mask + kBlock, log_sum = top + kBlock, delta = log_sum + kBlock, factor = delta + kBlock,
    operands = factor + 2 * kBlock;
  }
};

template <class Tiles>
struct Backward {
  KernelArgs& a;
  const AttentionBackwardAttrs& attrs = a.as<AttentionBackwardAttrs>();
  using In = AttentionBackwardInput;
  const TensorArg &g = a.in[In::dout], &q = a.in[In::q], &k = a.in[In::k], &v = a.in[In::v],
                  &mask = a.in[In::key_mask], &bias = a.in[In::bias], &o = a.in[In::out],
                  &statistics = a.in[In::statistics];
  const AttentionShape s = attention_shape(q, k, attrs.causal);
  const float scale = static_cast<float>(attrs.scale), mask_value = static_cast<float>(attrs.mask_value);
  // Of every row: see kAttentionStatistics.
  const float *top = statistics.as<float>(), *log_sum = top + s.B * s.N * s.H * s.Lq;
  TensorArg dq{}, dk{}, dv{}, dbias{};
  float *delta = nullptr, *dbias_sum = nullptr, *query_sums = nullptr;

  int64_t row_of(int64_t b, int64_t n, int64_t h) const { return ((b * s.N + n) * s.H + h) * s.Lq; }
  int64_t output_offset(const TensorArg& t, int64_t b, int64_t n, int64_t h, int64_t i) const {
    return b * t.strides[0] + n * t.strides[1] + i * t.strides[2] + h * t.strides[3];
  }

  // delta = rowsum(dO * O): what softmax's backward subtracts.
  void row_sums() const {
    parallel_ranges(a, s.B * s.N * s.Lq, s.H * s.D * 2, [&](int64_t first, int64_t last) {
      alignas(64) float gb[kMostAttentionWidth], ob[kMostAttentionWidth];
      for (int64_t row = first; row < last; ++row) {
        const int64_t i = row % s.Lq, n = row / s.Lq % s.N, b = row / s.Lq / s.N;
        for (int64_t h = 0; h < s.H; ++h) {
          const float* x = load_tile<float>(g.data, g.dtype, output_offset(g, b, n, h, i), 1, s.D, gb);
          const float* y = load_tile<float>(o.data, o.dtype, output_offset(o, b, n, h, i), 1, s.D, ob);
          float total = 0.0f;
#pragma omp simd reduction(+ : total)
          for (int64_t d = 0; d < s.D; ++d) total += x[d] * y[d];
          delta[row_of(b, n, h) + i] = total;
        }
      }
    });
  }

  // 64 keys of one key/value head against the queries of its group: dk, dv. With `all`, also dq added to the
  // thread's sums and dbias, whose tiles are added to `partial` or, without it, set.
  void keys_of(const BackwardTiles& t, const Tiles& tiles, int64_t b, int64_t n, int64_t hk, int64_t j0,
               bool all, float* dq_sums, float* partial) const {
    const int64_t nj = smaller(kBlock, s.Lk - j0), lanes = padded_lanes(nj),
                  width = attention_padded_width(s.D);
    const int64_t k_at = head_offset(k, b, n, hk) + j0 * k.strides[3];
    using Right = typename Tiles::Right;
    const Right key_lanes = tiles.lanes(0, k, k_at, k.strides[3], nj);
    const Right value_lanes =
        attrs.wants_k ? tiles.lanes(1, v, head_offset(v, b, n, hk) + j0 * v.strides[3], v.strides[3], nj)
                      : Right{};
    const Right keys = all ? tiles.keys(k, k_at, k.strides[3], nj) : Right{};
    for (int64_t i = 0; i < s.D * kBlock; ++i) t.sums[0][i] = t.sums[1][i] = 0.0f;
    for (int64_t j = 0; j < kBlock; ++j) t.mask[j] = 0.0f;
    mask_terms(mask, b, n, j0, nj, mask_value, t.mask);
    const int64_t first_query = s.causal && j0 > s.lead() ? j0 - s.lead() : 0;
    for (int64_t h = hk * s.group(); h < (hk + 1) * s.group(); ++h) {
      const int64_t q_at = head_offset(q, b, n, h), bias_at = bias.defined() ? head_offset(bias, b, n, h) : 0;
      for (int64_t i0 = first_query; i0 < s.Lq; i0 += kBlock) {
        const int64_t ni = smaller(kBlock, s.Lq - i0), row0 = row_of(b, n, h) + i0;
        const auto queries = tiles.rows(0, q, q_at + i0 * q.strides[3], q.strides[3], ni);
        const auto grads = tiles.rows(1, g, output_offset(g, b, n, h, i0), g.strides[2], ni);
        tiles.product(ni, s.D, tiles.by_rows(queries), key_lanes, t.scores, kBlock, lanes, false);
        finish_scores_by_key(t.scores, s, scale, t.mask, bias, bias_at, i0, ni, j0, nj, lanes);
        for (int64_t i = 0; i < ni; ++i) {
          float* row = t.scores + i * kBlock;
          const float largest = top[row0 + i], log_of_sum = log_sum[row0 + i];
#pragma omp simd
          for (int64_t j = 0; j < lanes; ++j) row[j] = exp_of_negative((row[j] - largest) - log_of_sum);
        }
        if (attrs.wants_v)
          tiles.product(s.D, ni, tiles.by_columns(1, grads, ni), tiles.weights(t.scores, ni, lanes), t.sums[1],
                        kBlock, lanes, true);
        if (!attrs.wants_k) continue;
        tiles.product(ni, s.D, tiles.by_rows(grads), value_lanes, t.gradient, kBlock, lanes, false);
        for (int64_t i = 0; i < ni; ++i) {
          float* row = t.gradient + i * kBlock;
          const float *p = t.scores + i * kBlock, subtract = delta[row0 + i];
#pragma omp simd
          for (int64_t j = 0; j < lanes; ++j) row[j] = p[j] * (row[j] - subtract);
        }
        tiles.product(s.D, ni, tiles.by_columns(0, queries, ni), tiles.weights(t.gradient, ni, lanes),
                      t.sums[0], kBlock, lanes, true);
        if (!all) continue;
        float* sums = dq_sums + ((h - hk * s.group()) * s.Lq + i0) * width;
        tiles.product(ni, nj, tiles.weight_rows(t.gradient, ni, nj), keys, sums, width, width, true);
        if (attrs.wants_bias) set_bias_rows(t.gradient, b, n, h, i0, ni, j0, nj, partial);
      }
    }
    for (int64_t j = 0; j < kBlock; ++j) t.factor[j] = scale, t.mask[j] = 1.0f;
    if (attrs.wants_k)
      unpack_lanes(t.sums[0], t.factor, nj, s.D, dk, head_offset(dk, b, n, hk) + j0 * dk.strides[3],
                   dk.strides[3]);
    if (attrs.wants_v)
      unpack_lanes(t.sums[1], t.mask, nj, s.D, dv, head_offset(dv, b, n, hk) + j0 * dv.strides[3],
                   dv.strides[3]);
  }

  void set_bias_rows(const float* gradient, int64_t b, int64_t n, int64_t h, int64_t i0, int64_t ni, int64_t j0,
                     int64_t nj, float* partial) const {
    const int64_t at = (h * s.Lq + i0) * s.Lk + j0;
    for (int64_t i = 0; i < ni; ++i) {
      const float* from = gradient + i * kBlock;
      if (partial) {
        float* to = partial + at + i * s.Lk;
#pragma omp simd
        for (int64_t j = 0; j < nj; ++j) to[j] += from[j];
      } else {
        store_tile<float>(dbias.data, dbias.dtype, (b * s.N + n) * s.H * s.Lq * s.Lk + at + i * s.Lk, nj, from);
      }
    }
  }

  // A task owns 64 keys of one key/value head.
  void keys_and_values(std::byte* space) const {
    const int64_t blocks = blocks_of(s.Lk);
    parallel_tasks(
        a, s.B * s.N * s.Hkv * blocks, kBlock * s.Lq * s.group() * s.D / 4, [&](int64_t slot, int64_t task) {
          const int64_t hk = task / blocks % s.Hkv, n = task / blocks / s.Hkv % s.N,
                        b = task / blocks / s.Hkv / s.N;
          const BackwardTiles t(space, slot, s.D, Tiles::kAmx);
          keys_of(t, Tiles(t.operands, s.D, true), b, n, hk, task % blocks * kBlock, false, nullptr, nullptr);
        });
  }

  // A task owns a key/value head of one row, or of the chunk of rows whose dbias it sums.
  void all_gradients(std::byte* space, int64_t chunks, float* partials) const {
    const int64_t pieces = chunks > 0 ? chunks : s.N, width = attention_padded_width(s.D), square = s.Lq * s.Lk;
    const int64_t work = s.Lk * s.Lq * s.group() * s.D / 2 * (s.N / pieces);
    parallel_tasks(a, s.B * pieces * s.Hkv, work, [&](int64_t slot, int64_t task) {
      const BackwardTiles t(space, slot, s.D, Tiles::kAmx);
      const Tiles tiles(t.operands, s.D, true);
      const int64_t hk = task % s.Hkv, piece = task / s.Hkv % pieces, b = task / s.Hkv / pieces;
      float* sums = query_sums + slot * attention_query_sums(s);
      float* partial = chunks > 0 ? partials + (b * chunks + piece) * s.H * square : nullptr;
      if (partial)
        for (int64_t i = 0; i < s.group() * square; ++i) partial[hk * s.group() * square + i] = 0.0f;
      for (int64_t n = s.N * piece / pieces; n < s.N * (piece + 1) / pieces; ++n) {
        if (attrs.wants_bias && !partial) {
          const size_t bytes = static_cast<size_t>(s.group() * square) * size_of(dbias.dtype);
          __builtin_memset(dbias.data + static_cast<size_t>((b * s.N + n) * s.Hkv + hk) * bytes, 0, bytes);
        }
        for (int64_t i = 0; i < attention_query_sums(s); ++i) sums[i] = 0.0f;
        for (int64_t j0 = 0; j0 < s.Lk; j0 += kBlock) keys_of(t, tiles, b, n, hk, j0, true, sums, partial);
        for (int64_t r = 0; r < s.group() * s.Lq; ++r) {
          float* row = sums + r * width;
#pragma omp simd
          for (int64_t d = 0; d < s.D; ++d) row[d] *= scale;
          const int64_t h = hk * s.group() + r / s.Lq;
          store_tile<float>(dq.data, dq.dtype, head_offset(dq, b, n, h) + r % s.Lq * dq.strides[3], s.D, row);
        }
      }
    });
  }

  // dbias = sum of the chunks, in order.
  void add_chunks(int64_t chunks, const float* partials) const {
    const int64_t size = s.H * s.Lq * s.Lk, per_batch = (size + kTile - 1) / kTile;
    parallel_ranges(a, s.B * per_batch, chunks * kTile, [&](int64_t first, int64_t last) {
      alignas(64) float total[kTile];
      for (int64_t tile = first; tile < last; ++tile) {
        const int64_t b = tile / per_batch, at = tile % per_batch * kTile, count = smaller(kTile, size - at);
        for (int64_t i = 0; i < count; ++i) total[i] = 0.0f;
        for (int64_t c = 0; c < chunks; ++c) {
          const float* from = partials + (b * chunks + c) * size + at;
#pragma omp simd
          for (int64_t i = 0; i < count; ++i) total[i] += from[i];
        }
        store_tile<float>(dbias.data, dbias.dtype, b * size + at, count, total);
      }
    });
  }

  // One block of 64 queries of one head: dq, and its tiles of dbias added up (or, for a
  // bias that is not summed, set).
  void queries_of(const BackwardTiles& t, const Tiles& tiles, int64_t b, int64_t n, int64_t h, int64_t i0,
                  int64_t dbias_at) const {
    const int64_t ni = smaller(kBlock, s.Lq - i0), lanes = padded_lanes(ni), last_key = s.visible(i0 + ni - 1),
                  row0 = row_of(b, n, h) + i0;
    const int64_t hk = h / s.group(), bias_at = bias.defined() ? head_offset(bias, b, n, h) : 0;
    const auto query_lanes = tiles.lanes(0, q, head_offset(q, b, n, h) + i0 * q.strides[3], q.strides[3], ni);
    const auto grad_lanes = tiles.lanes(1, g, output_offset(g, b, n, h, i0), g.strides[2], ni);
    for (int64_t i = 0; i < kBlock; ++i) {
      t.top[i] = i < ni ? top[row0 + i] : 0.0f;
      t.log_sum[i] = i < ni ? log_sum[row0 + i] : 0.0f;
      t.delta[i] = i < ni ? delta[row0 + i] : 0.0f;
    }
    for (int64_t j0 = 0; j0 < last_key; j0 += kBlock) {
      const int64_t nj = smaller(kBlock, last_key - j0);
      const auto keys = tiles.rows(0, k, head_offset(k, b, n, hk) + j0 * k.strides[3], k.strides[3], nj);
      const auto values = tiles.rows(1, v, head_offset(v, b, n, hk) + j0 * v.strides[3], v.strides[3], nj);
      tiles.product(nj, s.D, tiles.by_rows(keys), query_lanes, t.scores, kBlock, lanes, false);
      mask_terms(mask, b, n, j0, nj, mask_value, t.mask);
      finish_scores_by_query(t.scores, s, scale, t.mask, bias, bias_at, i0, ni, j0, nj, lanes);
      tiles.product(nj, s.D, tiles.by_rows(values), grad_lanes, t.gradient, kBlock, lanes, false);
      for (int64_t j = 0; j < nj; ++j) {
        const float* x = t.scores + j * kBlock;
        float* row = t.gradient + j * kBlock;
#pragma omp simd
        for (int64_t i = 0; i < lanes; ++i)
          row[i] = exp_of_negative((x[i] - t.top[i]) - t.log_sum[i]) * (row[i] - t.delta[i]);
      }
      if (attrs.wants_q)
        tiles.product(s.D, nj, tiles.by_columns(0, keys, nj), tiles.weights(t.gradient, nj, lanes), t.sums[0],
                      kBlock, lanes, j0 > 0);
      if (attrs.wants_bias) add_bias_tile(t.gradient, dbias_at + j0, ni, nj);
    }
    if (!attrs.wants_q) return;
    for (int64_t i = 0; i < kBlock; ++i) t.factor[i] = scale;
    unpack_lanes(t.sums[0], t.factor, ni, s.D, dq, head_offset(dq, b, n, h) + i0 * dq.strides[3],
                 dq.strides[3]);
  }

  void add_bias_tile(const float* gradient, int64_t at, int64_t ni, int64_t nj) const {
    const int64_t padded = (nj + kWidth - 1) / kWidth * kWidth;
    if (dbias_sum) {
      for_columns(gradient, kBlock, nj, padded, ni, [&](int64_t i, int64_t j, Floats x) {
        float* to = dbias_sum + at + i * s.Lk + j;
        if (nj - j >= kWidth)
          store(to, load(to) + x);
        else
          store_partial(to, load_partial(to, nj - j) + x, nj - j);
      });
      return;
    }
    with_pointer(dbias, at, [&](auto* p) {
      for_columns(gradient, kBlock, nj, padded, ni, [&](int64_t i, int64_t j, Floats x) {
        auto* to = p + i * s.Lk + j;
        if (nj - j >= kWidth)
          store(to, x);
        else
          store_partial(to, x, nj - j);
      });
    });
  }

  // A task owns 64 rows of dbias and walks over everything that the bias was broadcast to.
  void queries(std::byte* space) const {
    const int64_t blocks = blocks_of(s.Lq);
    const int64_t own_b = attrs.wants_bias ? dbias.shape[0] : s.B,
                  own_n = attrs.wants_bias ? dbias.shape[1] : s.N;
    const int64_t many_b = s.B / own_b, many_n = s.N / own_n;
    parallel_tasks(
        a, own_b * own_n * s.H * blocks, many_b * many_n * kBlock * s.Lk * s.D / 4,
        [&](int64_t slot, int64_t task) {
          const BackwardTiles t(space, slot, s.D, Tiles::kAmx);
          const Tiles tiles(t.operands, s.D, true);
          const int64_t i0 = task % blocks * kBlock, h = task / blocks % s.H, n0 = task / blocks / s.H % own_n,
                        b0 = task / blocks / s.H / own_n;
          const int64_t dbias_at = (((b0 * own_n + n0) * s.H + h) * s.Lq + i0) * s.Lk,
                        count = smaller(kBlock, s.Lq - i0) * s.Lk;
          if (attrs.wants_bias) {
            std::byte* to = dbias_sum ? reinterpret_cast<std::byte*>(dbias_sum + dbias_at)
                                      : dbias.data + dbias_at * static_cast<int64_t>(size_of(dbias.dtype));
            __builtin_memset(to, 0,
                             static_cast<size_t>(count) * (dbias_sum ? sizeof(float) : size_of(dbias.dtype)));
          }
          for (int64_t b = b0; b < s.B; b += own_b)
            for (int64_t n = n0; n < s.N; n += own_n) queries_of(t, tiles, b, n, h, i0, dbias_at);
          if (dbias_sum && dbias.dtype != DType::f32)
            store_tile<float>(dbias.data, dbias.dtype, dbias_at, count, dbias_sum + dbias_at);
        });
  }
};

// in g [B, N, Lq, H, D], q, k, v, key_mask, bias, o, statistics; out those wanted of dq, dk, dv, dbias.
template <class Tiles>
inline void attention_backward_tiled(KernelArgs& args) {
  Backward<Tiles> p{args};
  const auto& w = p.attrs;
  int out = 0, workspace = 1, launch = 0;
  if (w.wants_q) p.dq = attention_in_order(args.out[out++], w.q_axes);
  if (w.wants_k) p.dk = attention_in_order(args.out[out++], w.k_axes);
  if (w.wants_v) p.dv = attention_in_order(args.out[out++], w.v_axes);
  if (w.wants_bias) p.dbias = args.out[out++];
  if (w.wants_scores()) {
    p.delta = reinterpret_cast<float*>(args.workspace[workspace++]);
    args.launch(launch++);
    p.row_sums();
  }
  const AttentionPasses passes =
      attention_passes(p.s, w, w.wants_bias ? p.dbias.shape[0] : 1, w.wants_bias ? p.dbias.shape[1] : 1);
  if (passes.single) {
    p.query_sums = reinterpret_cast<float*>(args.workspace[workspace++]);
    float* partials = passes.chunks > 0 ? reinterpret_cast<float*>(args.workspace[workspace++]) : nullptr;
    args.launch(launch++);
    p.all_gradients(args.workspace[0], passes.chunks, partials);
    if (!partials) return;
    args.launch(launch++);
    p.add_chunks(passes.chunks, partials);
    return;
  }
  if (w.wants_bias && (p.dbias.shape[0] < p.s.B || p.dbias.shape[1] < p.s.N))
    p.dbias_sum = p.dbias.dtype == DType::f32 ? p.dbias.template as<float>()
                                              : reinterpret_cast<float*>(args.workspace[workspace++]);
  if (w.wants_k || w.wants_v) {
    args.launch(launch++);
    p.keys_and_values(args.workspace[0]);
  }
  if (w.wants_q || w.wants_bias) {
    args.launch(launch++);
    p.queries(args.workspace[0]);
  }
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA
