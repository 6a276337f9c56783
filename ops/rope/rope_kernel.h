// CPU kernel of rope: a table of cosines and sines, then the rotations. Included by rope.cpp, for f64 and for
// counting, and for f32 once per instruction set.
#pragma once

#include "ops/kernel/cpu/rows.h"
#include "ops/rope/rope_attrs.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// Sine and cosine of an angle in f64, good to f32's precision: the nearest multiple of pi/2 comes
// off in f64, and the rest, at most pi/4, goes through Taylor polynomials whose first missing
// term is below 2e-9. Branch-free.
RECKON_INLINE void sine_cosine(double angle, float* sine, float* cosine) {
  const double turns = __builtin_floor(angle * 0.63661977236758134308 + 0.5);
  const double r = angle - turns * 1.57079632679489661923;
  const double q = r * r;
  const double s = r * (1.0 + q * (-1.0 / 6 + q * (1.0 / 120 + q * (-1.0 / 5040 + q * (1.0 / 362880)))));
  const double c =
      1.0 + q * (-0.5 + q * (1.0 / 24 + q * (-1.0 / 720 + q * (1.0 / 40320 + q * (-1.0 / 3628800)))));
  const double quadrant = turns - 4.0 * __builtin_floor(turns * 0.25);  // 0, 1, 2, 3
  const bool swapped = quadrant == 1.0 || quadrant == 3.0;
  const double plain_sine = swapped ? c : s, plain_cosine = swapped ? s : c;
  *sine = static_cast<float>(quadrant >= 2.0 ? -plain_sine : plain_sine);
  *cosine = static_cast<float>(quadrant == 1.0 || quadrant == 2.0 ? -plain_cosine : plain_cosine);
}

// in x [B, S, heads, D], positions [S] or [B, S]; out y; workspaces: frequencies [D/2] in f64 and a
// table [positions, cosines then sines, D/2]. Counted: 1 and exp per frequency; 1, cos and sin per
// table entry; 6 per rotated pair.
template <class C>
inline void rope_kernel(KernelArgs& a) {
  const auto& t = a.as<RopeAttrs>();
  const TensorArg &x = a.in[rope_in::x], &positions = a.in[rope_in::positions], &y = a.out[0];
  const int64_t tokens = x.shape[0] * x.shape[1], heads = x.shape[2], width = x.shape[3], half = width / 2;
  const int64_t n_positions = positions.numel();
  const int64_t* position = positions.as<int64_t>();
  using Angle = std::conditional_t<sizeof(C) == sizeof(float), double, C>;
  Angle* frequency = reinterpret_cast<Angle*>(a.workspace[0]);
  C* table = reinterpret_cast<C*>(a.workspace[1]);

  a.launch(0);
  const Angle step = Angle(-2.0 * t.log_theta / static_cast<double>(width));
  for (int64_t i = 0; i < half; ++i) frequency[i] = k_exp(step * Angle(i));
  parallel_ranges(a, n_positions, 16 * half, [&](int64_t first, int64_t last) {
    for (int64_t p = first; p < last; ++p) {
      C *cosine = table + p * width, *sine = cosine + half;
      const Angle at = Angle(position[p]);
      if constexpr (sizeof(C) == sizeof(float)) {
#pragma omp simd
        for (int64_t i = 0; i < half; ++i) sine_cosine(at * frequency[i], &sine[i], &cosine[i]);
      } else {
        for (int64_t i = 0; i < half; ++i) {
          const C angle = at * frequency[i];
          cosine[i] = k_cos(angle);
          sine[i] = k_sin(angle);
        }
      }
    }
  });

  a.launch(1);
  const bool inverse = t.inverse;
  parallel_ranges(a, tokens, 4 * heads * width, [&](int64_t first, int64_t last) {
    alignas(64) C low[kTile], high[kTile], low_out[kTile], high_out[kTile];
    for (int64_t token = first; token < last; ++token) {
      const C *cosine = table + token % n_positions * width, *sine = cosine + half;
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t base = (token * heads + h) * width;
        for (int64_t j = 0; j < half; j += kTile) {
          const int64_t n = tile_count(half, j);
          const C* u = load_tile<C>(x.data, x.dtype, base + j, 1, n, low);
          const C* v = load_tile<C>(x.data, x.dtype, base + half + j, 1, n, high);
          C* p = direct_output(y, base + j, low_out);
          C* q = direct_output(y, base + half + j, high_out);
          const C *cs = cosine + j, *sn = sine + j;
          if (inverse) {
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) {
              p[i] = u[i] * cs[i] + v[i] * sn[i];
              q[i] = v[i] * cs[i] - u[i] * sn[i];
            }
          } else {
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) {
              p[i] = u[i] * cs[i] - v[i] * sn[i];
              q[i] = v[i] * cs[i] + u[i] * sn[i];
            }
          }
          store_tile<C>(y.data, y.dtype, base + j, n, p);
          store_tile<C>(y.data, y.dtype, base + half + j, n, q);
        }
      }
    }
  });
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(rope)
