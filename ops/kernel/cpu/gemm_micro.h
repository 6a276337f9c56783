// Register-tiled kernels: ROWS x VECTORS accumulators, one rank-1 update per step of k, any strides of a. The
// order of the sums is the same for every tile shape. Included by gemm_cpu.cpp only.
#pragma once

#include "ops/kernel/cpu/gemm_store.h"

namespace reckon::ops::RECKON_ISA {
namespace {

template <class T>
struct MicroArguments {
  int64_t steps;
  const T* a;
  int64_t a_row_stride, a_step_stride;
  const T* b;
  int64_t b_step_stride;
  T* c;  // whole vectors per row
  int64_t c_row_stride;
  int64_t row, column;  // of the tile, for the bias
  const Finish<T>* finish;
};

#if defined(__AVX512F__)
constexpr int kMicroRows = 14;
#else
constexpr int kMicroRows = 6;
#endif
constexpr int kMicroVectors = 2;

template <class T, int ROWS, int VECTORS>
void micro(const MicroArguments<T>& arguments) {
  constexpr int width = kLanes<T>;
  Vector<T> sums[ROWS][VECTORS] = {};
  const T* a = arguments.a;
  const T* b = arguments.b;
  const int64_t a_row = arguments.a_row_stride, a_step = arguments.a_step_stride,
                b_step = arguments.b_step_stride;
  T* c = arguments.c;
  int64_t c_row = arguments.c_row_stride;
#pragma GCC unroll 14
  for (int i = 0; i < ROWS; ++i) __builtin_prefetch(c + i * c_row, 1);
  for (int64_t p = arguments.steps; p > 0; --p) {
    Vector<T> columns[VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) columns[v] = load(b + v * width);
#pragma GCC unroll 14
    for (int i = 0; i < ROWS; ++i) {
      const Vector<T> value = broadcast(a + i * a_row);
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) sums[i][v] = multiply_add(value, columns[v], sums[i][v]);
    }
    a += a_step;
    b += b_step;
    __asm__("" : "+r"(a), "+r"(b));  // one moving pointer per operand instead of one per row
  }

  // Computes the addresses of c anew rather than keep them through the loop.
  __asm__("" : "+r"(c), "+r"(c_row));
  const Finish<T> finish = *arguments.finish;
  if (finish.alpha == T{1} && finish.column_bias == nullptr && finish.row_bias == nullptr) {
    // The common case apart, for its branches would cost more than its stores; a factor of one changes no bits.
    if (finish.add_c) {
#pragma GCC unroll 14
      for (int i = 0; i < ROWS; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; ++v) sums[i][v] += load(c + i * c_row + v * width);
      }
    }
#pragma GCC unroll 14
    for (int i = 0; i < ROWS; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) store(c + i * c_row + v * width, sums[i][v]);
    }
    return;
  }
#pragma GCC unroll 14
  for (int i = 0; i < ROWS; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) {
      T* to = c + i * c_row + v * width;
      Vector<T> value = finish_vector<T>(finish, sums[i][v], arguments.row + i, arguments.column + v * width);
      if (finish.add_c) value += load(to);
      store(to, value);
    }
  }
}

template <class T>
using Micro = void (*)(const MicroArguments<T>&);

template <class T, int VECTORS, int ROWS = kMicroRows>
RECKON_INLINE Micro<T> select_micro(int64_t rows) {
  if constexpr (ROWS == 1)
    return micro<T, 1, VECTORS>;
  else
    return rows == ROWS ? micro<T, ROWS, VECTORS> : select_micro<T, VECTORS, ROWS - 1>(rows);
}

template <class T>
RECKON_INLINE Micro<T> micro_for(int64_t rows, int64_t columns) {
  return columns > kLanes<T> ? select_micro<T, 2>(rows) : select_micro<T, 1>(rows);
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA
