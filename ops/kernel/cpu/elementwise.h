// One loop for every elementwise op: broadcasting by stride 0, operands of mixed types, any strides. Operands
// are converted tile by tile into buffers that stay in the first-level cache; contiguous operands of the
// compute type are used where they lie.
#pragma once

#include "ops/kernel/cpu/parallel.h"
#include "ops/kernel/cpu/scalar.h"
#include "ops/kernel/kernel_args.h"

namespace reckon::ops::RECKON_ISA {
namespace {

inline constexpr int kTile = 512;

template <class C>
inline const C* load_tile(const std::byte* base, DType t, int64_t offset, int64_t stride, int64_t n,
                          C* buffer) {
  const auto fill = [&](auto* p, auto convert) {
    p += offset;
    if (stride == 1) {
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) buffer[i] = convert(p[i]);
    } else if (stride == 0) {
      const C v = convert(p[0]);
      for (int64_t i = 0; i < n; ++i) buffer[i] = v;
    } else {
      for (int64_t i = 0; i < n; ++i) buffer[i] = convert(p[i * stride]);
    }
    return static_cast<const C*>(buffer);
  };
  if constexpr (sizeof(C) == sizeof(double)) {
    if (t == DType::f64) {
      const C* p = reinterpret_cast<const C*>(base);
      if (stride == 1) return p + offset;
      return fill(p, [](C v) { return v; });
    }
  }
  switch (t) {
    case DType::f32: {
      const float* p = reinterpret_cast<const float*>(base);
      if constexpr (sizeof(C) == sizeof(float)) {
        if (stride == 1) return reinterpret_cast<const C*>(p + offset);
      }
      return fill(p, [](float v) { return C(v); });
    }
    case DType::bf16:
      return fill(reinterpret_cast<const bf16*>(base), [](bf16 v) { return C(bf16_to_f32(v.bits)); });
    case DType::f16:
      return fill(reinterpret_cast<const f16*>(base), [](f16 v) { return C(f16_to_f32(v.bits)); });
    case DType::u8:
      return fill(reinterpret_cast<const uint8_t*>(base), [](uint8_t v) { return C(static_cast<int>(v)); });
    case DType::i64:
      return fill(reinterpret_cast<const int64_t*>(base), [](int64_t v) { return C(v); });
    default:
      return fill(reinterpret_cast<const float*>(base), [](float v) { return C(v); });
  }
}

template <class C>
inline void store_tile(std::byte* base, DType t, int64_t offset, int64_t n, const C* values) {
  switch (t) {
    case DType::f64: {
      C* p = reinterpret_cast<C*>(base) + offset;
      if constexpr (sizeof(C) == sizeof(double)) {
        if (p != values)
          for (int64_t i = 0; i < n; ++i) p[i] = values[i];
      } else {
        double* d = reinterpret_cast<double*>(base) + offset;
        for (int64_t i = 0; i < n; ++i) d[i] = static_cast<double>(values[i]);
      }
      break;
    }
    case DType::f32: {
      float* p = reinterpret_cast<float*>(base) + offset;
      if constexpr (sizeof(C) == sizeof(float)) {
        if (p == values) return;
      }
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) p[i] = static_cast<float>(values[i]);
      break;
    }
    case DType::bf16: {
      bf16* p = reinterpret_cast<bf16*>(base) + offset;
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) p[i].bits = bf16_bits(values[i]);
      break;
    }
    case DType::f16: {
      f16* p = reinterpret_cast<f16*>(base) + offset;
      for (int64_t i = 0; i < n; ++i) p[i].bits = f16_bits(values[i]);
      break;
    }
    case DType::u8: {
      uint8_t* p = reinterpret_cast<uint8_t*>(base) + offset;
      for (int64_t i = 0; i < n; ++i) p[i] = static_cast<uint8_t>(static_cast<double>(values[i]));
      break;
    }
    default:
      break;
  }
}

// Where the compute type can be written in place.
template <class C>
inline C* direct_output(const TensorArg& out, int64_t offset, C* buffer) {
  constexpr DType native = sizeof(C) == sizeof(double) ? DType::f64 : DType::f32;
  return out.dtype == native ? reinterpret_cast<C*>(out.data) + offset : buffer;
}

// f(i0, in_tiles, out_tiles, n): n elements starting at flat output index i0. Outputs are contiguous and of one
// shape; the NIN inputs broadcast to it. `cost_hint`: work per element, roughly in additions.
template <class C, int NIN, int NOUT, class F>
inline void elementwise(KernelArgs& args, F f, int64_t cost_hint = 4) {
  const TensorArg& shape_of = args.out[0];
  const int rank = shape_of.rank;
  int64_t extent[kMaxRank], stride[NIN > 0 ? NIN : 1][kMaxRank];
  int n_axes = 0;
  // Merge axes that every operand steps through as one.
  for (int a = 0; a < rank; ++a) {
    const int64_t e = shape_of.shape[a];
    if (e == 1) continue;
    int64_t s[NIN > 0 ? NIN : 1];
    for (int k = 0; k < NIN; ++k) {
      const TensorArg& t = args.in[k];
      const int b = a - (rank - t.rank);
      s[k] = b < 0 || t.shape[b] == 1 ? 0 : t.strides[b];
    }
    bool merge = n_axes > 0;
    for (int k = 0; merge && k < NIN; ++k) merge = stride[k][n_axes - 1] == s[k] * e;
    if (merge) {
      extent[n_axes - 1] *= e;
      for (int k = 0; k < NIN; ++k) stride[k][n_axes - 1] = s[k];
    } else {
      extent[n_axes] = e;
      for (int k = 0; k < NIN; ++k) stride[k][n_axes] = s[k];
      ++n_axes;
    }
  }
  if (n_axes == 0) {
    extent[0] = 1;
    for (int k = 0; k < NIN; ++k) stride[k][0] = 0;
    n_axes = 1;
  }
  const int64_t inner = extent[n_axes - 1];
  const int64_t n = shape_of.numel();
  if (n == 0) return;
  const int64_t tiles_per_row = (inner + kTile - 1) / kTile;
  const int64_t n_tiles = n / inner * tiles_per_row;

  parallel_ranges(args, n_tiles, (inner < kTile ? inner : kTile) * cost_hint, [&](int64_t first, int64_t last) {
    alignas(64) C in_buffer[NIN > 0 ? NIN : 1][kTile];
    alignas(64) C out_buffer[NOUT][kTile];
    for (int64_t tile = first; tile < last; ++tile) {
      const int64_t row = tile / tiles_per_row, column = tile % tiles_per_row * kTile;
      const int64_t count = inner - column < kTile ? inner - column : kTile;
      int64_t rest = row, offset[NIN > 0 ? NIN : 1] = {};
      for (int a = n_axes - 2; a >= 0; --a) {
        const int64_t i = rest % extent[a];
        rest /= extent[a];
        for (int k = 0; k < NIN; ++k) offset[k] += i * stride[k][a];
      }
      const C* in[NIN > 0 ? NIN : 1];
      for (int k = 0; k < NIN; ++k) {
        const int64_t s = stride[k][n_axes - 1];
        in[k] = load_tile<C>(args.in[k].data, args.in[k].dtype, offset[k] + column * s, s, count, in_buffer[k]);
      }
      const int64_t i0 = row * inner + column;
      C* out[NOUT];
      for (int k = 0; k < NOUT; ++k) out[k] = direct_output(args.out[k], i0, out_buffer[k]);
      f(i0, in, out, count);
      for (int k = 0; k < NOUT; ++k) store_tile<C>(args.out[k].data, args.out[k].dtype, i0, count, out[k]);
    }
  });
}

template <class C, class F>
inline void map_unary(KernelArgs& args, F f, int64_t cost_hint = 4) {
  args.launch(0);
  elementwise<C, 1, 1>(
      args,
      [f](int64_t, const C* const* in, C* const* out, int64_t n) {
        const C* x = in[0];
        C* y = out[0];
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) y[i] = f(x[i]);
      },
      cost_hint);
}

template <class C, class F>
inline void map_binary(KernelArgs& args, F f, int64_t cost_hint = 4) {
  args.launch(0);
  elementwise<C, 2, 1>(
      args,
      [f](int64_t, const C* const* in, C* const* out, int64_t n) {
        const C *a = in[0], *b = in[1];
        C* y = out[0];
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) y[i] = f(a[i], b[i]);
      },
      cost_hint);
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA
