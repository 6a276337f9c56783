// CPU kernels of the joint norm of a list of gradients and of the product of a list with a factor.
// Included by grad_norm.cpp, for f64 and for counting, and for f32 once per instruction set. No sum
// depends on the number of threads.
#pragma once

#include "ops/grad_norm/grad_norm_attrs.h"
#include "ops/kernel/cpu/tensor_list.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// f32 chunks are added up in double: there are few of them.
template <class C>
struct wide_of {
  using type = C;
};
template <>
struct wide_of<float> {
  using type = double;
};

// First level: partial[chunk] = sum of squares of a chunk.
template <class C>
inline void square_chunks(const KernelArgs& a, int n_tensors, C* partial) {
  for_each_chunk(a, a.in, n_tensors, 2, [&](int k, int64_t start, int64_t count, int64_t chunk) {
    alignas(64) C cells[kTile];
    C total = C(0);
    for_each_tile(start, count, [&](int64_t at, int64_t n) {
      const C* x = load_tile<C>(a.in[k].data, a.in[k].dtype, at, 1, n, cells);
      if constexpr (sizeof(C) == sizeof(float)) {
        C part = C(0);
#pragma omp simd reduction(+ : part)
        for (int64_t i = 0; i < n; ++i) part += x[i] * x[i];
        total += part;
      } else {
        for (int64_t i = 0; i < n; ++i) total += x[i] * x[i];
      }
    });
    partial[chunk] = total;
  });
}

template <class C>
RECKON_INLINE C sum_partials(const C* partial, int64_t n) {
  using Wide = typename wide_of<C>::type;
  Wide total = Wide(0);
  for (int64_t i = 0; i < n; ++i) total += Wide(partial[i]);
  return C(total);
}

// in: one tensor; out: [1]; workspace: the partial sums.
template <class C>
inline void sum_squares_kernel(KernelArgs& a) {
  C* partial = reinterpret_cast<C*>(a.workspace[0]);
  a.launch(0);
  square_chunks<C>(a, 1, partial);
  a.launch(1);
  const C total = sum_partials(partial, list_chunks(a.in[0].numel()));
  store_tile<C>(a.out[0].data, a.out[0].dtype, 0, 1, &total);
}

// in: the squares' sums [n]; out: the root of their sum.
template <class C>
inline void root_of_sum_kernel(KernelArgs& a) {
  using Wide = typename wide_of<C>::type;
  a.launch(0);
  Wide total = Wide(0);
  for (int64_t i = 0; i < a.in[0].numel(); ++i) {
    C cell;
    total += Wide(*load_tile<C>(a.in[0].data, a.in[0].dtype, i, 1, 1, &cell));
  }
  const C norm = k_sqrt(C(total));
  store_tile<C>(a.out[0].data, a.out[0].dtype, 0, 1, &norm);
}

template <class C>
inline void grad_norm_kernel(KernelArgs& a) {
  using Wide = typename wide_of<C>::type;
  C* partial = reinterpret_cast<C*>(a.workspace[0]);
  a.launch(0);
  square_chunks<C>(a, a.n_in, partial);
  a.launch(1);
  Wide total = Wide(0);
  for (int k = 0; k < a.n_in; ++k) {
    const int64_t n = list_chunks(a.in[k].numel());
    total += Wide(sum_partials(partial, n));
    partial += n;
  }
  const C norm = k_sqrt(C(total));
  store_tile<C>(a.out[0].data, a.out[0].dtype, 0, 1, &norm);
}

template <class C>
inline void clip_coefficient_kernel(KernelArgs& a) {
  a.launch(0);
  const C c = C(a.as<ClipAttrs>().max_norm) / (scalar_or<C>(a.in[0], C(0)) + C(1e-6));
  const C coefficient = c > C(1) ? C(1) : c;
  store_tile<C>(a.out[0].data, a.out[0].dtype, 0, 1, &coefficient);
}

// in: n tensors, factor; out: the tensors.
template <class C>
inline void scale_all_kernel(KernelArgs& a) {
  a.launch(0);
  const C factor = scalar_or<C>(a.in[a.n_in - 1], C(1));
  for_each_chunk(a, a.out, a.n_out, 2, [&](int k, int64_t start, int64_t count, int64_t) {
    alignas(64) C cells[kTile];
    const TensorArg& t = a.out[k];
    for_each_tile(start, count, [&](int64_t at, int64_t n) {
      C* x = direct_output(t, at, cells);
      load_tile<C>(t.data, t.dtype, at, 1, n, cells);
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) x[i] = x[i] * factor;
      store_tile<C>(t.data, t.dtype, at, n, x);
    });
  });
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(sum_squares)
RECKON_KERNEL(root_of_sum)
RECKON_KERNEL(grad_norm)
RECKON_KERNEL(clip_coefficient)
RECKON_KERNEL(scale_all)
