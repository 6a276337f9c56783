// CPU kernels of index_select, scatter_add and one_hot. Included by index_select.cpp, for f64 and for counting,
// and for f32 once per instruction set. They do not check indices: index_select.cpp has done so.
#pragma once

#include "ops/index_select/index_select_attrs.h"
#include "ops/kernel/cpu/elementwise.h"

namespace reckon::ops::RECKON_ISA {
namespace {

struct AxisSplit {
  int64_t outer = 1, inner = 1;  // elements before and after the axis
};

RECKON_INLINE AxisSplit split_at(const TensorArg& x, int axis) {
  AxisSplit s;
  for (int i = 0; i < axis; ++i) s.outer *= x.shape[i];
  for (int i = axis + 1; i < x.rank; ++i) s.inner *= x.shape[i];
  return s;
}

// in: x contiguous, ids; out: slices. Bytes are moved as they are, whatever the scalar.
template <class>
inline void index_select_kernel(KernelArgs& a) {
  a.launch(0);
  const auto& t = a.as<IndexAttrs>();
  const TensorArg &x = a.in[index_select_in::x], &ids = a.in[index_select_in::ids], &y = a.out[0];
  const AxisSplit s = split_at(x, t.axis);
  const int64_t n = ids.numel(), run = s.inner * static_cast<int64_t>(size_of(x.dtype));
  if (run == 0) return;
  const int64_t* id = ids.as<int64_t>();
  parallel_ranges(a, s.outer * n, run / 4 + 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i)
      __builtin_memcpy(y.data + i * run, x.data + (i / n * t.extent + id[i % n]) * run,
                       static_cast<size_t>(run));
  });
}

// in: x or absent (zeros), ids, src; out: the sums. Types narrower than C add up in a workspace. A piece owns a
// range of columns of one outer index and walks the indices in order.
template <class C>
inline void scatter_add_kernel(KernelArgs& a) {
  a.launch(0);
  const auto& t = a.as<IndexAttrs>();
  const TensorArg &x = a.in[scatter_add_in::x], &ids = a.in[scatter_add_in::ids],
                  &src = a.in[scatter_add_in::src], &y = a.out[0];
  const AxisSplit s = split_at(y, t.axis);
  const int64_t n = ids.numel(), row = t.extent * s.inner;
  const int64_t* id = ids.as<int64_t>();
  C* sums = direct_output(y, 0, reinterpret_cast<C*>(a.workspace ? a.workspace[0] : nullptr));
  constexpr int64_t kColumns = 128;
  const int64_t tiles = (s.inner + kColumns - 1) / kColumns;
  parallel_ranges(
      a, s.outer * tiles, (n + t.extent) * (s.inner < kColumns ? s.inner : kColumns),
      [&](int64_t first, int64_t last) {
        alignas(64) C cells[kTile];
        for (int64_t piece = first; piece < last; ++piece) {
          const int64_t o = piece / tiles, column = piece % tiles * kColumns;
          const int64_t width = s.inner - column < kColumns ? s.inner - column : kColumns;
          C* base = sums + o * row + column;
          for (int64_t i = 0; i < t.extent; ++i) {
            C* to = base + i * s.inner;
            if (x.defined()) {
              const C* v = load_tile<C>(x.data, x.dtype, o * row + i * s.inner + column, 1, width, cells);
              for (int64_t j = 0; j < width; ++j) to[j] = v[j];
            } else {
              for (int64_t j = 0; j < width; ++j) to[j] = C(0);
            }
          }
          for (int64_t k = 0; k < n; ++k) {
            const C* v = load_tile<C>(src.data, src.dtype, (o * n + k) * s.inner + column, 1, width, cells);
            C* to = base + id[k] * s.inner;
#pragma omp simd
            for (int64_t j = 0; j < width; ++j) to[j] += v[j];
          }
          if (y.data != reinterpret_cast<std::byte*>(sums))
            for (int64_t i = 0; i < t.extent; ++i)
              store_tile<C>(y.data, y.dtype, o * row + i * s.inner + column, width, base + i * s.inner);
        }
      });
}

template <class S>
inline void put_ones(const TensorArg& ids, const TensorArg& y, int64_t classes, S one) {
  const int64_t n = ids.numel();
  for (int64_t i = 0; i < n; ++i) y.as<S>()[i * classes + ids.as<int64_t>()[i]] = one;
}

template <class>
inline void one_hot_kernel(KernelArgs& a) {
  a.launch(0);
  const TensorArg &ids = a.in[0], &y = a.out[0];
  const int64_t classes = a.as<OneHotAttrs>().n_classes;
  __builtin_memset(y.data, 0, static_cast<size_t>(y.numel()) * size_of(y.dtype));
  switch (y.dtype) {
    case DType::f64:
      put_ones<double>(ids, y, classes, 1.0);
      break;
    case DType::f32:
      put_ones<float>(ids, y, classes, 1.0f);
      break;
    case DType::bf16:
      put_ones<bf16>(ids, y, classes, bf16{f32_to_bf16(1.0f)});
      break;
    case DType::f16:
      put_ones<f16>(ids, y, classes, f16{f32_to_f16(1.0f)});
      break;
    case DType::i64:
      put_ones<int64_t>(ids, y, classes, 1);
      break;
    default:
      put_ones<uint8_t>(ids, y, classes, 1);
  }
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(index_select)
RECKON_KERNEL(scatter_add)
RECKON_KERNEL(one_hot)
