// The tiled kernels for f32, bf16 and f16. The matrix product's workspace is the first one,
// the tile of logits the second.
#pragma once

#include "ops/kernel/cpu/gemm.h"
#include "ops/linear_cross_entropy/linear_cross_entropy_reference.h"

namespace reckon::ops::RECKON_ISA {
namespace {

struct TileProducts {
  KernelArgs& a;
  int next_launch = 0;

  void run(int64_t m, int64_t n, int64_t k, GemmOperand left, GemmOperand right, void* c, DType c_dtype,
           bool accumulate) {
    a.launch(next_launch++);
    GemmProblem p{};
    p.m = m, p.n = n, p.k = k, p.a = left, p.b = right;
    p.c = c, p.c_dtype = c_dtype, p.c_row_stride = n, p.c_col_stride = 1, p.alpha = 1.0,
    p.accumulate = accumulate;
    gemm(p, a.workspace[0], a.threads, static_cast<IsaLevel>(a.isa_level));
  }
  // logits [rows][classes] of a tile, in f32
  void logits(const LogitTiles& t, const TensorArg& x, const TensorArg& w, int64_t r, int64_t v, float* to) {
    run(t.rows(r), t.classes(v), t.H, {offset(x, r * t.tile_rows * t.H), x.dtype, t.H, 1},
        {offset(w, v * t.tile_classes * t.H), w.dtype, 1, t.H}, to, DType::f32, false);
  }
  static std::byte* offset(const TensorArg& t, int64_t elements) {
    return t.data + elements * static_cast<int64_t>(size_of(t.dtype));
  }
};

// in x, weight, targets; out loss, statistics; workspaces product, logits, rows (maximum, sum, logit of the target).
inline void linear_cross_entropy_tiled(KernelArgs& a) {
  const auto& t = a.as<LinearCrossEntropyAttrs>();
  using In = LinearCrossEntropyInput;
  using Out = LinearCrossEntropyOutput;
  const TensorArg &x = a.in[In::x], &w = a.in[In::weight], &targets = a.in[In::targets],
                  &loss = a.out[Out::loss], &statistics = a.out[Out::statistics];
  const LogitTiles tiles{x.shape[0], w.shape[0], w.shape[1]};
  float *logits = reinterpret_cast<float*>(a.workspace[1]), *top = reinterpret_cast<float*>(a.workspace[2]);
  float *sum = top + tiles.most_rows(), *picked = sum + tiles.most_rows();
  TileProducts products{a};
  double total = 0.0;
  for (int64_t r = 0; r < tiles.row_tiles(); ++r) {
    const int64_t rows = tiles.rows(r), row0 = r * tiles.tile_rows;
    for (int64_t i = 0; i < rows; ++i) top[i] = -__builtin_inff(), sum[i] = 0.0f, picked[i] = 0.0f;
    for (int64_t v = 0; v < tiles.class_tiles(); ++v) {
      const int64_t classes = tiles.classes(v), class0 = v * tiles.tile_classes;
      products.logits(tiles, x, w, r, v, logits);
      a.launch(products.next_launch++);
      parallel_ranges(a, rows, 14 * classes, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
          const float* row = logits + i * classes;
          const float before = top[i], now = largest(before, row, classes),
                      safe = now > -__builtin_inff() ? now : 0.0f;
          sum[i] = add_up(
              sum[i] * k_exp(before - safe), classes,
              [ row, safe ](int64_t j) __attribute__((always_inline)) { return k_exp(row[j] - safe); });
          top[i] = now;
          const int64_t target = targets.as<int64_t>()[row0 + i] - class0;
          if (target >= 0 && target < classes) picked[i] = row[target];
        }
      });
    }
    for (int64_t i = 0; i < rows; ++i) {
      const bool counts = targets.as<int64_t>()[row0 + i] != t.ignore_index;
      const float log_sum = k_log(sum[i]);
      statistics.as<float>()[row0 + i] = counts ? top[i] : 0.0f;
      statistics.as<float>()[tiles.T + row0 + i] = counts ? log_sum : 0.0f;
      total += counts ? static_cast<double>(top[i] - picked[i] + log_sum) : 0.0;
    }
  }
  a.launch(products.next_launch++);
  if (t.reduction == Reduction::mean)
    total = total / static_cast<double>(counted_rows(targets, t.ignore_index));
  loss.as<float>()[0] = static_cast<float>(total);
}

// Logits to their gradient, one tile; in bf16 into `low` when the products take it. `top`, `log_sum`: statistics
// of the tile's rows.
inline void logit_gradients(KernelArgs& a, float* logits, bf16* low, int64_t rows, int64_t classes,
                            int64_t class0, const int64_t* targets, const float* top, const float* log_sum,
                            int64_t ignored, float scale) {
  parallel_ranges(a, rows, 12 * classes, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      float* row = logits + i * classes;
      const float largest = top[i], log_of_sum = log_sum[i], factor = targets[i] == ignored ? 0.0f : scale;
      if (targets[i] == ignored) {
        for (int64_t j = 0; j < classes; ++j) row[j] = 0.0f;
      } else {
#pragma omp simd
        for (int64_t j = 0; j < classes; ++j) row[j] = k_exp((row[j] - largest) - log_of_sum) * factor;
        const int64_t target = targets[i] - class0;
        if (target >= 0 && target < classes) row[target] -= factor;
      }
      if (!low) continue;
      bf16* to = low + i * classes;
#pragma omp simd
      for (int64_t j = 0; j < classes; ++j) to[j].bits = f32_to_bf16(row[j]);
    }
  });
}

// in g, x, weight, targets, statistics; out those wanted of dx, dweight; workspaces product, logits, then as planned:
// logit gradient in bf16, sums of dx in f32.
inline void linear_cross_entropy_backward_tiled(KernelArgs& a) {
  const auto& t = a.as<LinearCrossEntropyAttrs>();
  using In = LinearCrossEntropyBackwardInput;
  const TensorArg &g = a.in[In::dloss], &x = a.in[In::x], &w = a.in[In::weight], &targets = a.in[In::targets],
                  &statistics = a.in[In::statistics];
  const LogitTiles tiles{x.shape[0], w.shape[0], w.shape[1]};
  const int64_t H = tiles.H;
  int workspace = 1;
  float* logits = reinterpret_cast<float*>(a.workspace[workspace++]);
  bf16* low =
      low_logit_gradient(x.dtype, w.dtype) ? reinterpret_cast<bf16*>(a.workspace[workspace++]) : nullptr;
  const TensorArg dx = t.wants_x ? a.out[0] : TensorArg{}, dw = t.wants_weight ? a.out[t.wants_x] : TensorArg{};
  float *dx_sum = dx.as<float>(), *dw_sum = dw.as<float>();
  if (t.wants_x && dx.dtype != DType::f32) dx_sum = reinterpret_cast<float*>(a.workspace[workspace++]);
  float scale = load_one<float>(g, 0);
  if (t.reduction == Reduction::mean) scale = scale / static_cast<float>(counted_rows(targets, t.ignore_index));
  const void* grad = low ? static_cast<const void*>(low) : logits;
  const DType grad_dtype = low ? DType::bf16 : DType::f32;
  const auto convert = [&](const float* from, const TensorArg& to, int64_t at, int64_t count) {
    parallel_ranges(a, (count + kTile - 1) / kTile, kTile, [&](int64_t first, int64_t last) {
      const int64_t end = last * kTile < count ? last * kTile : count;
      store_tile<float>(to.data, to.dtype, at + first * kTile, end - first * kTile, from + first * kTile);
    });
  };
  TileProducts products{a};
  for (int64_t v = 0; v < tiles.class_tiles(); ++v) {
    const int64_t classes = tiles.classes(v), class0 = v * tiles.tile_classes;
    for (int64_t r = 0; r < tiles.row_tiles(); ++r) {
      const int64_t rows = tiles.rows(r), row0 = r * tiles.tile_rows;
      products.logits(tiles, x, w, r, v, logits);
      a.launch(products.next_launch++);
      logit_gradients(a, logits, low, rows, classes, class0, targets.as<int64_t>() + row0,
                      statistics.as<float>() + row0, statistics.as<float>() + tiles.T + row0, t.ignore_index,
                      scale);
      if (t.wants_x)
        products.run(rows, H, classes, {grad, grad_dtype, classes, 1},
                     {products.offset(w, class0 * H), w.dtype, H, 1}, dx_sum + row0 * H, DType::f32, v > 0);
      if (t.wants_weight)
        products.run(classes, H, rows, {grad, grad_dtype, 1, classes},
                     {products.offset(x, row0 * H), x.dtype, H, 1}, dw_sum + class0 * H, DType::f32, r > 0);
    }
  }
  if (t.wants_x && dx.dtype != DType::f32) convert(dx_sum, dx, 0, tiles.T * H);
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA
