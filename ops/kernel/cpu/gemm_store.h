// Decodes task numbers and writes finished tiles of sums to c: scale, bias, accumulate, convert, any strides.
// Included by gemm_*.cpp only.
#pragma once

#include "ops/kernel/cpu/gemm_job.h"
#include "ops/kernel/cpu/gemm_simd.h"

namespace reckon::ops::RECKON_ISA {
namespace {

RECKON_INLINE int64_t element_bytes(DType t) { return t == DType::f64 ? 8 : (t == DType::f32 ? 4 : 2); }
RECKON_INLINE int64_t smaller(int64_t x, int64_t y) { return x < y ? x : y; }

struct GemmTask {
  const char *a, *b;
  char* c;
  int64_t row, rows, column, columns;
};

GemmTask decode_task(const GemmJob& job, int64_t index) {
  const GemmProblem& p = job.problem;
  const GemmBlocking& blocking = job.blocking;
  const int64_t tiles = blocking.m_blocks * blocking.n_blocks;
  int64_t product = index / tiles;
  const int64_t tile = index % tiles;
  int64_t a = 0, b = 0, c = 0;
  for (int d = job.batch.rank - 1; d >= 0; --d) {
    const int64_t i = product % job.batch.size[d];
    product /= job.batch.size[d];
    a += i * job.batch.a_stride[d];
    b += i * job.batch.b_stride[d];
    c += i * job.batch.c_stride[d];
  }
  GemmTask task;
  task.a = static_cast<const char*>(p.a.data) + a * element_bytes(p.a.dtype);
  task.b = static_cast<const char*>(p.b.data) + b * element_bytes(p.b.dtype);
  task.c = static_cast<char*>(p.c) + c * element_bytes(p.c_dtype);
  task.row = tile % blocking.m_blocks * blocking.mc;
  task.rows = smaller(blocking.mc, p.m - task.row);
  task.column = tile / blocking.m_blocks * blocking.nc;
  task.columns = smaller(blocking.nc, p.n - task.column);
  return task;
}

// How sums become values of c: value = alpha * sum, + bias of the column, + bias of
// the row, + c, rounded each time.
template <class T>
struct Finish {
  T alpha;
  const T* column_bias;  // null or padded to whole vectors
  const T* row_bias;     // null or one per row
  bool add_c;

  RECKON_INLINE bool changes_sums() const {
    return alpha != T(1) || column_bias != nullptr || row_bias != nullptr;
  }
};

template <class T>
RECKON_INLINE Vector<T> finish_vector(const Finish<T>& finish, Vector<T> sum, int64_t row, int64_t column) {
  Vector<T> v = rounded(broadcast(&finish.alpha) * sum);
  if (finish.column_bias != nullptr) v = rounded(v + load(finish.column_bias + column));
  if (finish.row_bias != nullptr) v = rounded(v + broadcast(finish.row_bias + row));
  return v;
}

// Dense rows of c. What a tile does to its sums is decided once, not at every vector.
template <bool CHANGES, bool ADDS, class T, class S>
void finish_rows(const Finish<T>& finish, const T* sums, int64_t pitch, int64_t rows, int64_t columns, S* c,
                 int64_t row_stride) {
  constexpr int width = kLanes<T>;
  const int64_t whole = columns / width * width;
  for (int64_t i = 0; i < rows; ++i, sums += pitch, c += row_stride) {
    const auto value = [&](int64_t j) {
      return CHANGES ? finish_vector<T>(finish, load(sums + j), i, j) : load(sums + j);
    };
    for (int64_t j = 0; j < whole; j += width) {
      if constexpr (ADDS)
        store(c + j, value(j) + load(c + j));
      else
        store(c + j, value(j));
    }
    if (whole == columns) continue;
    Vector<T> v = value(whole);
    if constexpr (ADDS) v += load_partial(c + whole, columns - whole);
    store_partial(c + whole, v, columns - whole);
  }
}

// c with any strides.
template <class T, class S>
void finish_scattered(const Finish<T>& finish, const T* sums, int64_t pitch, int64_t rows, int64_t columns,
                      S* c, int64_t row_stride, int64_t col_stride) {
  constexpr int width = kLanes<T>;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; j += width) {
      const int64_t count = smaller(width, columns - j);
      S* to = c + i * row_stride + j * col_stride;
      S values[width] = {};
      Vector<T> v = finish_vector<T>(finish, load(sums + i * pitch + j), i, j);
      if (finish.add_c) {
        for (int64_t l = 0; l < count; ++l) values[l] = to[l * col_stride];
        v += load(values);
      }
      store(values, v);
      for (int64_t l = 0; l < count; ++l) to[l * col_stride] = values[l];
    }
}

// `sums` has whole vectors per row; `c` is the tile's first element.
template <class T, class S>
void finish_tile_as(const Finish<T>& finish, const T* sums, int64_t pitch, int64_t rows, int64_t columns, S* c,
                    int64_t row_stride, int64_t col_stride) {
  if (col_stride != 1) return finish_scattered(finish, sums, pitch, rows, columns, c, row_stride, col_stride);
  const auto dense = finish.changes_sums()
                         ? (finish.add_c ? finish_rows<true, true, T, S> : finish_rows<true, false, T, S>)
                         : (finish.add_c ? finish_rows<false, true, T, S> : finish_rows<false, false, T, S>);
  dense(finish, sums, pitch, rows, columns, c, row_stride);
}

[[maybe_unused]] void finish_tile(const Finish<double>& finish, const double* sums, int64_t pitch, int64_t rows,
                                  int64_t columns, void* c, DType, int64_t offset, int64_t row_stride,
                                  int64_t col_stride) {
  finish_tile_as(finish, sums, pitch, rows, columns, static_cast<double*>(c) + offset, row_stride, col_stride);
}
void finish_tile(const Finish<float>& finish, const float* sums, int64_t pitch, int64_t rows, int64_t columns,
                 void* c, DType dtype, int64_t offset, int64_t row_stride, int64_t col_stride) {
  const auto as = [&](auto* to) {
    finish_tile_as(finish, sums, pitch, rows, columns, to + offset, row_stride, col_stride);
  };
  if (dtype == DType::f32)
    as(static_cast<float*>(c));
  else if (dtype == DType::bf16)
    as(static_cast<bf16*>(c));
  else
    as(static_cast<f16*>(c));
}

// The task's part of the bias in the type of the sums, zero up to `padded`.
template <class T>
void load_bias(const GemmProblem& p, int64_t first, int64_t count, int64_t padded, T* out) {
  for (int64_t i = 0; i < count; ++i) {
    if constexpr (sizeof(T) == 8)
      out[i] = static_cast<const double*>(p.bias)[first + i];
    else if (p.bias_dtype == DType::f32)
      out[i] = static_cast<const float*>(p.bias)[first + i];
    else if (p.bias_dtype == DType::bf16)
      out[i] = element(static_cast<const bf16*>(p.bias)[first + i]);
    else
      out[i] = element(static_cast<const f16*>(p.bias)[first + i]);
  }
  for (int64_t i = count; i < padded; ++i) out[i] = T{};
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA
