// CPU kernels of loss scaling: the search for infinities and NaN, and the scale's update. Included by
// grad_scaler.cpp, for f64 and for counting, and for f32 once per instruction set.
#pragma once

#include "ops/grad_scaler/grad_scaler_attrs.h"
#include "ops/kernel/cpu/tensor_list.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// False for infinities and NaN; no arithmetic on the value.
RECKON_INLINE bool is_finite(float x) { return (__builtin_bit_cast(uint32_t, x) & 0x7f800000u) != 0x7f800000u; }
RECKON_INLINE bool is_finite(double x) {
  return (__builtin_bit_cast(uint64_t, x) & 0x7ff0000000000000u) != 0x7ff0000000000000u;
}
RECKON_INLINE bool is_finite(Counted x) { return is_finite(x.v); }

// in: n tensors; out: [1]; workspace: one flag per chunk.
template <class C>
inline void non_finite_kernel(KernelArgs& a) {
  auto* flags = reinterpret_cast<uint8_t*>(a.workspace[0]);
  a.launch(0);
  for_each_chunk(a, a.in, a.n_in, 1, [&](int k, int64_t start, int64_t count, int64_t chunk) {
    alignas(64) C cells[kTile];
    int32_t found = 0;
    for_each_tile(start, count, [&](int64_t at, int64_t n) {
      const C* x = load_tile<C>(a.in[k].data, a.in[k].dtype, at, 1, n, cells);
      int32_t any = 0;
#pragma omp simd reduction(| : any)
      for (int64_t i = 0; i < n; ++i) any |= is_finite(x[i]) ? 0 : 1;
      found |= any;
    });
    flags[chunk] = static_cast<uint8_t>(found);
  });
  a.launch(1);
  int64_t chunks = 0;
  for (int k = 0; k < a.n_in; ++k) chunks += list_chunks(a.in[k].numel());
  uint8_t any = 0;
  for (int64_t i = 0; i < chunks; ++i) any |= flags[i];
  const C result = C(any ? 1 : 0);
  store_tile<C>(a.out[0].data, a.out[0].dtype, 0, 1, &result);
}

// in: scale, tracker, found; out: scale, tracker. Both products are always made, so that the work is the same.
template <class C>
inline void scaler_update_kernel(KernelArgs& a) {
  a.launch(0);
  const auto& t = a.as<ScalerAttrs>();
  const C scale = scalar_or<C>(a.in[scaler_update_in::scale], C(1));
  const C smaller = scale * C(t.backoff), larger = scale * C(t.growth);
  int64_t& tracker = *a.out[1].as<int64_t>();
  const bool found = is_set<C>(a.in[scaler_update_in::found_inf]), full = tracker + 1 == t.interval;
  const C result = found ? smaller : (full && is_finite(larger) ? larger : scale);
  tracker = found || full ? 0 : tracker + 1;
  store_tile<C>(a.out[0].data, a.out[0].dtype, 0, 1, &result);
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(non_finite)
RECKON_KERNEL(scaler_update)
