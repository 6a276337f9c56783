// Register-tiled kernels: ROWS x VECTORS accumulators, one rank-1 update per step of k, any strides of a. The
// order of the sums is the same for every tile shape. Included by gemm_cpu.cpp only.
#pragma once

#include "ops/kernel/gemm_store.h"

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

// Byte offset of row i, built from a few odd multiples so that the rows fit the base + index * scale form
// instead of taking a pointer register each.
template <int I>
RECKON_INLINE int64_t row_offset(const int64_t (&odd)[7]) {
  if constexpr (I == 0)
    return 0;
  else if constexpr (I % 2 == 1)
    return odd[I / 2];
  else
    return 2 * row_offset<I / 2>(odd);
}

template <class T, int ROWS, int VECTORS, int I = 0>
RECKON_INLINE void update_rows(const char* a, const int64_t (&odd)[7], const Vector<T> (&b)[VECTORS],
                               Vector<T> (&sums)[ROWS][VECTORS]) {
  if constexpr (I < ROWS) {
    const Vector<T> value = broadcast(reinterpret_cast<const T*>(a + row_offset<I>(odd)));
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) sums[I][v] = multiply_add(value, b[v], sums[I][v]);
    update_rows<T, ROWS, VECTORS, I + 1>(a, odd, b, sums);
  }
}

template <class T, int ROWS, int VECTORS>
void micro(const MicroArguments<T>& arguments) {
  constexpr int width = kLanes<T>;
  Vector<T> sums[ROWS][VECTORS] = {};
  const char* a = reinterpret_cast<const char*>(arguments.a);
  const T* b = arguments.b;
  const int64_t a_step = arguments.a_step_stride * static_cast<int64_t>(sizeof(T));
  const int64_t b_step = arguments.b_step_stride;
  int64_t odd[7];
#pragma GCC unroll 7
  for (int i = 0; i < 7; ++i) odd[i] = (2 * i + 1) * arguments.a_row_stride * static_cast<int64_t>(sizeof(T));
#pragma GCC unroll 14
  for (int i = 0; i < ROWS; ++i) __builtin_prefetch(arguments.c + i * arguments.c_row_stride, 1);
  for (int64_t p = arguments.steps; p > 0; --p) {
    Vector<T> columns[VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) columns[v] = load(b + v * width);
    update_rows<T, ROWS, VECTORS>(a, odd, columns, sums);
    a += a_step;
    b += b_step;
    __asm__("" : "+r"(a), "+r"(b));  // one induction variable per operand
  }
  const Finish<T>& finish = *arguments.finish;
#pragma GCC unroll 14
  for (int i = 0; i < ROWS; ++i) {
    T* to = arguments.c + i * arguments.c_row_stride;
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) {
      Vector<T> value = finish_vector<T>(finish, sums[i][v], arguments.row + i, arguments.column + v * width);
      if (finish.add_c) value += load(to + v * width);
      store(to + v * width, value);
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
