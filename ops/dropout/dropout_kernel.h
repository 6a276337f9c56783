// CPU kernels of the dropout ops: masks drawn tile by tile from Philox blocks, and applied.
// Included by dropout.cpp, for f64 and for counting, and for f32 once per instruction set. No mask
// depends on how the work is split.
#pragma once

#include "ops/dropout/dropout_attrs.h"
#include "ops/kernel/cpu/elementwise.h"

namespace reckon::ops::RECKON_ISA {
namespace {

inline constexpr int kMaskTile = kTile + 8;

// Written out, since an inner loop would keep the loop over blocks from vectorising.
template <class F>
RECKON_INLINE void for_ten_rounds(F&& round) {
  round(0u), round(1u), round(2u), round(3u), round(4u);
  round(5u), round(6u), round(7u), round(8u), round(9u);
}

// keep[0, n) for mask elements [first, first + n), n <= kTile, returned from within `cells`. Philox4x32-10 with
// the counter in the low half and the stream in the high half, as runtime/core/rng.h defines it; blocks are
// independent, so the rounds vectorise over them.
RECKON_INLINE const uint8_t* draw_mask(const DropoutAttrs& t, int64_t first, int64_t n, uint8_t* cells) {
  constexpr int kBlocks = kMaskTile / 4;
  alignas(64) uint32_t word[4][kBlocks];
  const uint64_t block = static_cast<uint64_t>(first) / 4;
  const int skip = static_cast<int>(first % 4);
  const int blocks = static_cast<int>((skip + n + 3) / 4);
  const uint32_t stream_low = static_cast<uint32_t>(t.key.stream),
                 stream_high = static_cast<uint32_t>(t.key.stream >> 32);
  const uint32_t seed_low = static_cast<uint32_t>(t.key.seed),
                 seed_high = static_cast<uint32_t>(t.key.seed >> 32);
#pragma omp simd
  for (int b = 0; b < blocks; ++b) {
    const uint64_t counter = block + static_cast<uint64_t>(b);
    uint32_t c0 = static_cast<uint32_t>(counter), c1 = static_cast<uint32_t>(counter >> 32), c2 = stream_low,
             c3 = stream_high;
    for_ten_rounds([&](uint32_t weyl) __attribute__((always_inline)) {
      const uint64_t p0 = uint64_t{0xD2511F53u} * c0, p1 = uint64_t{0xCD9E8D57u} * c2;
      c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ (seed_low + weyl * 0x9E3779B9u);
      c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ (seed_high + weyl * 0xBB67AE85u);
      c1 = static_cast<uint32_t>(p1);
      c3 = static_cast<uint32_t>(p0);
    });
    word[0][b] = c0;
    word[1][b] = c1;
    word[2][b] = c2;
    word[3][b] = c3;
  }
  const uint32_t threshold = t.threshold;
#pragma omp simd
  for (int b = 0; b < blocks; ++b) {
    cells[4 * b] = word[0][b] >= threshold;
    cells[4 * b + 1] = word[1][b] >= threshold;
    cells[4 * b + 2] = word[2][b] >= threshold;
    cells[4 * b + 3] = word[3][b] >= threshold;
  }
  return cells + skip;
}

inline void fill_mask(const KernelArgs& a, const DropoutAttrs& t, const TensorArg& mask) {
  const int64_t n = mask.numel();
  parallel_ranges(a, (n + kTile - 1) / kTile, kTile * 8, [&](int64_t first, int64_t last) {
    alignas(64) uint8_t cells[kMaskTile];
    for (int64_t tile = first; tile < last; ++tile) {
      const int64_t at = tile * kTile, count = n - at < kTile ? n - at : kTile;
      __builtin_memcpy(mask.as<uint8_t>() + at, draw_mask(t, at, count, cells), static_cast<size_t>(count));
    }
  });
}

// The sum is a loop of its own: contracted with the product into a fused multiply-add it would round otherwise
// than dropout followed by add.
template <class C, bool kAdds, class M>
RECKON_INLINE void keep_and_add(const C* x, const M* keep, const C* residual, C scale, C* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const C scaled = x[i] * scale;
    y[i] = keep[i] == M(0) ? C(0) : scaled;
  }
  if constexpr (kAdds) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = residual[i] + y[i];
  }
}

// y = x dropped (+ residual), by a mask of broadcasting shape. in: x, mask (, residual).
template <class C, bool kAdds>
inline void apply_mask(KernelArgs& a, const TensorArg& x, const TensorArg& mask, const TensorArg* residual,
                       C scale) {
  const TensorArg in[3] = {x, mask, kAdds ? *residual : TensorArg{}};
  KernelArgs apply = a;
  apply.in = in;
  apply.n_in = kAdds ? 3 : 2;
  elementwise<C, kAdds ? 3 : 2, 1>(apply, [scale](int64_t, const C* const* in_tile, C* const* out, int64_t n) {
    const C *v = in_tile[0], *m = in_tile[1];
    C* y = out[0];
    keep_and_add<C, kAdds>(v, m, kAdds ? in_tile[2] : nullptr, scale, y, n);
  });
}

// The mask drawn tile by tile and forgotten, or written to `mask` where that is given.
// Mask and output positions agree.
template <class C, bool kAdds>
inline void draw_and_apply(KernelArgs& a, const DropoutAttrs& t, const TensorArg& x, const TensorArg* residual,
                           uint8_t* mask) {
  const TensorArg in[2] = {x, kAdds ? *residual : TensorArg{}};
  KernelArgs apply = a;
  apply.in = in;
  const C scale = C(t.scale);
  elementwise<C, kAdds ? 2 : 1, 1>(
      apply,
      [&t, scale, mask](int64_t i0, const C* const* in_tile, C* const* out, int64_t n) {
        alignas(64) uint8_t cells[kMaskTile];
        const uint8_t* keep = draw_mask(t, i0, n, cells);
        if (mask) __builtin_memcpy(mask + i0, keep, static_cast<size_t>(n));
        const C* v = in_tile[0];
        C* y = out[0];
        keep_and_add<C, kAdds>(v, keep, kAdds ? in_tile[1] : nullptr, scale, y, n);
      },
      24);
}

RECKON_INLINE TensorArg mask_arg(const TensorArg& x, uint32_t shared, std::byte* data) {
  TensorArg m = x;
  m.data = data;
  m.dtype = DType::u8;
  int64_t step = 1;
  for (int i = x.rank - 1; i >= 0; --i) {
    m.shape[i] = (shared >> i) & 1u ? 1 : x.shape[i];
    m.strides[i] = step;
    step *= m.shape[i];
  }
  return m;
}

// in: x; out: y, mask.
template <class C>
inline void dropout_kernel(KernelArgs& a) {
  const auto& t = a.as<DropoutAttrs>();
  a.launch(0);
  if (!t.shared) return draw_and_apply<C, false>(a, t, a.in[0], nullptr, a.out[1].as<uint8_t>());
  fill_mask(a, t, a.out[1]);
  a.launch(1);
  apply_mask<C, false>(a, a.in[0], a.out[1], nullptr, C(t.scale));
}

// in: gradient, mask; out: its product with the scaled mask.
template <class C>
inline void dropout_backward_kernel(KernelArgs& a) {
  a.launch(0);
  apply_mask<C, false>(a, a.in[dropout_backward_in::g], a.in[dropout_backward_in::mask], nullptr,
                       C(a.as<DropoutAttrs>().scale));
}

// in: x, and with kAdds the residual before it; a shared mask lives in a workspace.
template <class C, bool kAdds>
inline void redraw_and_apply(KernelArgs& a) {
  const auto& t = a.as<DropoutAttrs>();
  const TensorArg& x = a.in[kAdds ? dropout_add_in::x : 0];
  const TensorArg* residual = kAdds ? &a.in[dropout_add_in::residual] : nullptr;
  a.launch(0);
  if (!t.shared) return draw_and_apply<C, kAdds>(a, t, x, residual, nullptr);
  const TensorArg mask = mask_arg(x, t.shared, a.workspace[0]);
  fill_mask(a, t, mask);
  a.launch(1);
  apply_mask<C, kAdds>(a, x, mask, residual, C(t.scale));
}
template <class C>
inline void dropout_redraw_kernel(KernelArgs& a) {
  redraw_and_apply<C, false>(a);
}
template <class C>
inline void dropout_add_kernel(KernelArgs& a) {
  redraw_and_apply<C, true>(a);
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(dropout)
RECKON_KERNEL(dropout_backward)
RECKON_KERNEL(dropout_add)
RECKON_KERNEL(dropout_redraw)
