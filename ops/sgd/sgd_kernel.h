// CPU kernel of sgd, in place. Included by sgd.cpp, for f64 and for counting, and
// for f32 once per instruction set.
#pragma once

#include "ops/kernel/cpu/tensor_list.h"
#include "ops/sgd/sgd_attrs.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// in: param, grad, buffer or absent, grad_scale or absent, skip or absent; out:
// param and, with momentum, buffer.
template <class C>
inline void sgd_kernel(KernelArgs& a) {
  a.launch(0);
  const SgdSettings& s = a.as<SgdAttrs>().s;
  if (is_set<C>(a.in[sgd_in::skip])) return;
  const TensorArg &param = a.in[sgd_in::param], &grad = a.in[sgd_in::grad],
                  &buffer = a.in[sgd_in::momentum_buffer], &scale = a.in[sgd_in::grad_scale];
  const bool scales = scale.defined(), momentum = s.momentum != 0, first = s.step == 1;
  const C g_scale = scalar_or<C>(scale, C(1)), decay = C(s.weight_decay), mu = C(s.momentum),
          take = C(1 - s.dampening), lr = C(-s.lr);
  for_each_chunk(a, &param, 1, 8, [&](int, int64_t start, int64_t count, int64_t) {
    alignas(64) C p_cells[kTile], g_cells[kTile], b_cells[kTile], u_cells[kTile];
    for_each_tile(start, count, [&](int64_t at, int64_t n) {
      C* p = direct_output(param, at, p_cells);
      load_tile<C>(param.data, param.dtype, at, 1, n, p_cells);
      const C* g = load_tile<C>(grad.data, grad.dtype, at, 1, n, g_cells);
      if (scales) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) g_cells[i] = g[i] * g_scale;
        g = g_cells;
      }
      if (s.weight_decay != 0) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) g_cells[i] = g[i] + decay * p[i];
        g = g_cells;
      }
      if (momentum) {
        C* b = direct_output(buffer, at, b_cells);
        load_tile<C>(buffer.data, buffer.dtype, at, 1, n, b_cells);
        if (first) {
          for (int64_t i = 0; i < n; ++i) b[i] = g[i];
        } else if (s.dampening == 0) {
#pragma omp simd
          for (int64_t i = 0; i < n; ++i) b[i] = mu * b[i] + g[i];
        } else {
#pragma omp simd
          for (int64_t i = 0; i < n; ++i) b[i] = mu * b[i] + take * g[i];
        }
        store_tile<C>(buffer.data, buffer.dtype, at, n, b);
        if (s.nesterov) {
#pragma omp simd
          for (int64_t i = 0; i < n; ++i) u_cells[i] = g[i] + mu * b[i];
          g = u_cells;
        } else {
          g = b;
        }
      }
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) p[i] = p[i] + lr * g[i];
      store_tile<C>(param.data, param.dtype, at, n, p);
    });
  });
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(sgd)
