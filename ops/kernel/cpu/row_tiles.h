// What fused ops over tiles of rows share: the tile's height, matrix products and column sums in the compute
// type, and the sums that parameter gradients grow in. Tiles are visited in order and each product is
// independent of the thread count, so the results are too.
#pragma once

#include "ops/kernel/cpu/elementwise.h"
#include "ops/kernel/cpu/gemm.h"

namespace reckon::ops {

// Rows of one tile: about 1 MiB of f32 for the widest intermediate, so that a tile stays in the second-level
// cache; narrow rows make tall tiles, since every tile packs the weights again and its products end in
// barriers. Where a weight (c x widest) is as large as that itself, every tile also streams it and its gradient
// from memory, so no tile is low.
RECKON_INLINE constexpr int64_t rows_per_tile(int64_t widest, int64_t c) {
  constexpr int64_t kCached = 1 << 18, kTallest = 2048;
  const int64_t lowest = widest * c >= kCached ? 512 : 128;
  const int64_t rows = kCached / (widest > 0 ? widest : 1) / 32 * 32;
  return rows < lowest ? lowest : (rows > kTallest ? kTallest : rows);
}

// Elements of one of several arrays in a workspace, so that each starts at a cache line.
RECKON_INLINE constexpr int64_t padded_elements(int64_t numel) { return (numel + 15) / 16 * 16; }

namespace RECKON_ISA {
namespace {

template <class C>
inline constexpr DType kNative = sizeof(C) == sizeof(double) ? DType::f64 : DType::f32;

template <class C>
inline constexpr bool kCounts = __is_same(C, Counted);

RECKON_INLINE std::byte* element_at(std::byte* base, DType t, int64_t i) {
  return base + i * static_cast<int64_t>(size_of(t));
}

// The plain products, counting 2 m n k (and m n with a bias).
inline void counted_product(const GemmProblem& p, int64_t a0, int64_t b0, int64_t c0) {
  const auto* a = reinterpret_cast<const Counted*>(p.a.data) + a0;
  const auto* b = reinterpret_cast<const Counted*>(p.b.data) + b0;
  auto* c = reinterpret_cast<Counted*>(p.c) + c0;
  for (int64_t i = 0; i < p.m; ++i)
    for (int64_t j = 0; j < p.n; ++j) {
      Counted& cell = c[i * p.c_row_stride + j * p.c_col_stride];
      Counted sum = p.accumulate ? cell : Counted(0);
      for (int64_t l = 0; l < p.k; ++l)
        sum += a[i * p.a.row_stride + l * p.a.col_stride] * b[l * p.b.row_stride + j * p.b.col_stride];
      if (p.bias) sum += reinterpret_cast<const Counted*>(p.bias)[j];
      cell = sum;
    }
}

// Workspace 0 of every fused op is the products' scratch.
template <class C>
inline void products(const KernelArgs& args, const GemmProblem& p, const GemmBatch& batch) {
  if constexpr (kCounts<C>) {
    const int64_t total = batch.size[0] * batch.size[1];
    for (int64_t e = 0; e < total; ++e) {
      const int64_t i = e / batch.size[1], j = e % batch.size[1];
      counted_product(p, i * batch.a_stride[0] + j * batch.a_stride[1],
                      i * batch.b_stride[0] + j * batch.b_stride[1],
                      i * batch.c_stride[0] + j * batch.c_stride[1]);
    }
  } else {
    batched_gemm(p, batch, args.workspace[0], args.threads, static_cast<IsaLevel>(args.isa_level));
  }
}

template <class C>
inline void product(const KernelArgs& args, const GemmProblem& p) {
  products<C>(args, p, GemmBatch{});
}

// A row-major matrix in memory.
struct Matrix {
  std::byte* data;
  DType dtype;
  int64_t ld;

  RECKON_INLINE Matrix from_row(int64_t row) const { return {element_at(data, dtype, row * ld), dtype, ld}; }
};

RECKON_INLINE Matrix rows_of(const TensorArg& t) { return {t.data, t.dtype, t.last()}; }

// f(in tiles, out tiles, n) over the first `rows` rows of matrices of one width; an output may be an input.
template <class C, int NIN, int NOUT, class F>
inline void map_rows(const KernelArgs& args, int64_t rows, int64_t width, const Matrix (&in)[NIN],
                     const Matrix (&out)[NOUT], int64_t cost_hint, F f) {
  parallel_ranges(args, rows, width * cost_hint, [&](int64_t first, int64_t last) {
    alignas(64) C in_buffer[NIN][kTile], out_buffer[NOUT][kTile];
    for (int64_t r = first; r < last; ++r)
      for (int64_t j = 0; j < width; j += kTile) {
        const int64_t n = width - j < kTile ? width - j : kTile;
        const C* v[NIN];
        C* o[NOUT];
        for (int k = 0; k < NIN; ++k)
          v[k] = load_tile<C>(in[k].data, in[k].dtype, r * in[k].ld + j, 1, n, in_buffer[k]);
        for (int k = 0; k < NOUT; ++k) o[k] = out_buffer[k];
        f(v, o, n);
        for (int k = 0; k < NOUT; ++k) store_tile<C>(out[k].data, out[k].dtype, r * out[k].ld + j, n, o[k]);
      }
  });
}

// c[m, n] (+)= a[m, k] w[n, k]^T (+ bias): what a linear layer does.
template <class C>
inline void multiply_by_weight(const KernelArgs& args, int64_t m, Matrix a, const TensorArg& w,
                               const TensorArg& bias, Matrix c) {
  product<C>(args, {.m = m,
                    .n = w.shape[0],
                    .k = w.shape[1],
                    .a = {a.data, a.dtype, a.ld, 1},
                    .b = {w.data, w.dtype, 1, w.shape[1]},
                    .c = c.data,
                    .c_dtype = c.dtype,
                    .c_row_stride = c.ld,
                    .c_col_stride = 1,
                    .bias = bias.data,
                    .bias_dtype = bias.data ? bias.dtype : c.dtype});
}

// c[m, k] (+)= g[m, n] w[n, k]: the gradient of its input.
template <class C>
inline void multiply_back(const KernelArgs& args, int64_t m, Matrix g, const TensorArg& w, Matrix c,
                          bool accumulate) {
  product<C>(args, {.m = m,
                    .n = w.shape[1],
                    .k = w.shape[0],
                    .a = {g.data, g.dtype, g.ld, 1},
                    .b = {w.data, w.dtype, w.shape[1], 1},
                    .c = c.data,
                    .c_dtype = c.dtype,
                    .c_row_stride = c.ld,
                    .c_col_stride = 1,
                    .accumulate = accumulate});
}

// c[n, k] (+)= g[m, n]^T a[m, k]: the gradient of its weight.
template <class C>
inline void weight_gradient(const KernelArgs& args, int64_t m, int64_t n, int64_t k, Matrix g, Matrix a,
                            std::byte* c, DType c_dtype, bool accumulate) {
  product<C>(args, {.m = n,
                    .n = k,
                    .k = m,
                    .a = {g.data, g.dtype, 1, g.ld},
                    .b = {a.data, a.dtype, a.ld, 1},
                    .c = c,
                    .c_dtype = c_dtype,
                    .c_row_stride = k,
                    .c_col_stride = 1,
                    .accumulate = accumulate});
}

// sum[j] += sum over rows of g[row, j]: the gradient of its bias. Null: not wanted.
template <class C>
inline void add_column_sums(const KernelArgs& args, int64_t rows, int64_t n, Matrix g, C* sum) {
  if (!sum) return;
  constexpr int64_t kLanes = 64;
  parallel_ranges(args, (n + kLanes - 1) / kLanes, rows * kLanes, [&](int64_t first, int64_t last) {
    alignas(64) C buffer[kLanes], piece[kLanes];
    for (int64_t t = first; t < last; ++t) {
      const int64_t j = t * kLanes, count = n - j < kLanes ? n - j : kLanes;
      C* to = sum + j;
      if constexpr (sizeof(C) == sizeof(float)) {  // a tile's sum first, so that long columns lose less
        for (int64_t i = 0; i < count; ++i) piece[i] = C(0);
        to = piece;
      }
      for (int64_t row = 0; row < rows; ++row) {
        const C* v = load_tile<C>(g.data, g.dtype, row * g.ld + j, 1, count, buffer);
#pragma omp simd
        for (int64_t i = 0; i < count; ++i) to[i] += v[i];
      }
      if (to == piece)
        for (int64_t i = 0; i < count; ++i) sum[j + i] += piece[i];
    }
  });
}

// The gradient of a weight matrix, which the products of tiles add up in: the first one sets it.
struct ProductSum {
  TensorArg out;  // undefined: not wanted
  bool started = false;

  bool wanted() const { return out.defined(); }
  void finish() const {  // zero where there were no rows
    if (wanted() && !started)
      __builtin_memset(out.data, 0, static_cast<size_t>(out.numel()) * size_of(out.dtype));
  }
};

template <class C>
inline void add_weight_gradient(const KernelArgs& args, int64_t m, int64_t n, int64_t k, Matrix g, Matrix a,
                                ProductSum& sum) {
  if (!sum.wanted()) return;
  weight_gradient<C>(args, m, n, k, g, a, sum.out.data, sum.out.dtype, sum.started);
  sum.started = true;
}

// Walks the outputs of a backward op in the order of the forward inputs, handing out those that
// are wanted. A parameter's gradient is of the type that it is summed in (GradientPlan agrees), so
// it grows in the output itself.
template <class C>
class GradientOutputs {
 public:
  GradientOutputs(KernelArgs& args, uint32_t needs) : args_(args), needs_(needs) {}

  RECKON_INLINE bool needs(int input) const { return (needs_ >> input) & 1u; }
  TensorArg take(int input) { return needs(input) ? args_.out[next_++] : TensorArg{}; }
  C* take_sum(int input) {  // zeros at first; null: not wanted
    const TensorArg out = take(input);
    if (!out.defined()) return nullptr;
    C* sum = reinterpret_cast<C*>(out.data);
    parallel_ranges(args_, out.numel(), 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) sum[i] = C(0);
    });
    return sum;
  }
  ProductSum take_product_sum(int input) { return {take(input)}; }

 private:
  KernelArgs& args_;
  uint32_t needs_;
  int next_ = 0;
};

}  // namespace
}  // namespace RECKON_ISA
}  // namespace reckon::ops
