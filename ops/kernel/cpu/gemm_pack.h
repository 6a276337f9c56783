// Packing for the float and double kernels: converts to the type of the sums and lays a panel out contiguously.
// A panel has lanes (rows of a, columns of b) and steps (along k). Included by gemm_cpu.cpp only.
#pragma once

#include "ops/kernel/cpu/gemm_simd.h"

namespace reckon::ops::RECKON_ISA {
namespace {

struct PanelSource {
  const void* data;
  DType dtype;
  int64_t lane_stride, step_stride;
  int64_t lanes, steps;
};

// out[lane * pitch + step], from a source contiguous along the steps.
template <class T, class S>
void copy_lanes(const S* from, int64_t lane_stride, int64_t lanes, int64_t steps, T* out, int64_t pitch) {
  constexpr int width = kLanes<T>;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const S* row = from + lane * lane_stride;
    T* to = out + lane * pitch;
    int64_t p = 0;
    for (; p + width <= steps; p += width) store(to + p, load(row + p));
    if (p < steps) store(to + p, load_partial(row + p, steps - p));
  }
}

// out[step * pitch + lane], from a source contiguous along the lanes.
template <class T, class S>
void copy_steps(const S* from, int64_t step_stride, int64_t lanes, int64_t steps, T* out, int64_t pitch) {
  constexpr int width = kLanes<T>;
  const int64_t whole = lanes / width * width;
  for (int64_t p = 0; p < steps; ++p) {
    const S* row = from + p * step_stride;
    T* to = out + p * pitch;
    for (int64_t lane = 0; lane < whole; lane += width) store(to + lane, load(row + lane));
    if (whole < lanes) store(to + whole, load_partial(row + whole, lanes - whole));
  }
}

// out[step * pitch + lane], from a source contiguous along the steps.
template <class T, class S>
void transpose_lanes(const S* from, int64_t lane_stride, int64_t lanes, int64_t steps, T* out, int64_t pitch) {
  constexpr int width = kLanes<T>;
  for (int64_t first = 0; first < lanes; first += width) {
    const int64_t count = lanes - first < width ? lanes - first : width;
    const S* corner = from + first * lane_stride;
    for (int64_t p = 0; p < steps; p += width) {
      const int64_t depth = steps - p < width ? steps - p : width;
      Vector<T> rows[width];
      if (count == width && depth == width) {
#pragma GCC unroll 16
        for (int i = 0; i < width; ++i) rows[i] = load(corner + i * lane_stride + p);
      } else {
        for (int i = 0; i < width; ++i)
          rows[i] = i < count ? load_partial(corner + i * lane_stride + p, depth) : Vector<T>{};
      }
      transpose(rows);
      T* to = out + p * pitch + first;
      if (depth == width) {
#pragma GCC unroll 16
        for (int i = 0; i < width; ++i) store(to + i * pitch, rows[i]);
      } else {
        for (int i = 0; i < depth; ++i) store(to + i * pitch, rows[i]);
      }
    }
  }
}

template <class T, class S>
void gather_steps(const PanelSource& source, const S* from, T* out, int64_t pitch) {
  const int64_t padded = (source.lanes + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
  for (int64_t p = 0; p < source.steps; ++p) {
    T* to = out + p * pitch;
    for (int64_t lane = 0; lane < source.lanes; ++lane)
      to[lane] = element(from[lane * source.lane_stride + p * source.step_stride]);
    for (int64_t lane = source.lanes; lane < padded; ++lane) to[lane] = T{};
  }
}

// `pitch` is a multiple of the vector width that holds all lanes; the last vector is filled with zeros.
template <class T, class S>
void pack_steps_as(const PanelSource& source, const S* from, T* out, int64_t pitch) {
  if (source.lane_stride == 1)
    copy_steps<T>(from, source.step_stride, source.lanes, source.steps, out, pitch);
  else if (source.step_stride == 1)
    transpose_lanes<T>(from, source.lane_stride, source.lanes, source.steps, out, pitch);
  else
    gather_steps<T>(source, from, out, pitch);
}

void pack_steps(const PanelSource& source, double* out, int64_t pitch) {
  pack_steps_as<double>(source, static_cast<const double*>(source.data), out, pitch);
}
void pack_steps(const PanelSource& source, float* out, int64_t pitch) {
  if (source.dtype == DType::f32)
    pack_steps_as<float>(source, static_cast<const float*>(source.data), out, pitch);
  else if (source.dtype == DType::bf16)
    pack_steps_as<float>(source, static_cast<const bf16*>(source.data), out, pitch);
  else
    pack_steps_as<float>(source, static_cast<const f16*>(source.data), out, pitch);
}

// `pitch` holds all steps rounded up to the vector width; needs step_stride == 1.
void pack_lanes(const PanelSource& source, double* out, int64_t pitch) {
  copy_lanes<double>(static_cast<const double*>(source.data), source.lane_stride, source.lanes, source.steps,
                     out, pitch);
}
void pack_lanes(const PanelSource& source, float* out, int64_t pitch) {
  const auto copy = [&](auto* from) {
    copy_lanes<float>(from, source.lane_stride, source.lanes, source.steps, out, pitch);
  };
  if (source.dtype == DType::f32)
    copy(static_cast<const float*>(source.data));
  else if (source.dtype == DType::bf16)
    copy(static_cast<const bf16*>(source.data));
  else
    copy(static_cast<const f16*>(source.data));
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA
