// Arrays, layouts and guarded workspaces shared by the tests of the matrix products.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <vector>

#include "ops/kernel/cpu/gemm.h"
#include "runtime/core/element.h"

namespace reckon::ops {

inline std::vector<IsaLevel> levels() {
  std::vector<IsaLevel> all;
  for (const IsaLevel level : {IsaLevel::v1, IsaLevel::v3, IsaLevel::v4, IsaLevel::amx})
    if (level <= machine_isa_level()) all.push_back(level);
  return all;
}

// Memory aligned as a tensor's is.
template <class T>
struct TensorAlignment {
  using value_type = T;
  T* allocate(size_t n) { return static_cast<T*>(::operator new (n * sizeof(T), std::align_val_t{64})); }
  void deallocate(T* p, size_t) { ::operator delete (p, std::align_val_t{64}); }
  bool operator==(const TensorAlignment&) const = default;
};

// Exactly `count` elements on the heap, so that a sanitizer sees every read or write past them.
struct Array {
  Array(int64_t count, DType t) : type(t), n(count), bytes(static_cast<size_t>(count) * size_of(t)) {}
  void fill(std::mt19937& random) {
    std::uniform_real_distribution<double> uniform(-1.0, 1.0);
    for (int64_t i = 0; i < n; ++i) set(i, uniform(random));
  }
  double get(int64_t i) const { return load_element(bytes.data(), type, i); }
  void set(int64_t i, double v) { store_element(bytes.data(), type, i, v); }
  void* data() { return bytes.data(); }
  DType type;
  int64_t n;
  std::vector<unsigned char, TensorAlignment<unsigned char>> bytes;
};

// A workspace of exactly the promised size, with guard bytes behind it and NaN patterns inside.
struct Workspace {
  static constexpr size_t kGuard = 256;
  explicit Workspace(size_t bytes)
      : size(bytes),
        data(static_cast<unsigned char*>(std::aligned_alloc(64, (bytes + kGuard + 63) / 64 * 64))) {
    std::memset(data.get(), 0xff, size);
    std::memset(data.get() + size, 0x5a, kGuard);
  }
  bool guard_intact() const {
    for (size_t i = 0; i < kGuard; ++i)
      if (data.get()[size + i] != 0x5a) return false;
    return true;
  }
  struct Free {
    void operator()(unsigned char* p) const { std::free(p); }
  };
  size_t size;
  std::unique_ptr<unsigned char, Free> data;
};

enum class Layout { rows, columns, padded_rows, both_strided };
constexpr Layout kLayouts[] = {Layout::rows, Layout::columns, Layout::padded_rows, Layout::both_strided};

struct Strides {
  int64_t row, col, extent;
};

inline Strides strides_of(Layout layout, int64_t rows, int64_t cols) {
  switch (layout) {
    case Layout::rows:
      return {cols, 1, rows * cols};
    case Layout::columns:
      return {1, rows, rows * cols};
    case Layout::padded_rows:
      return {cols + 5, 1, (rows - 1) * (cols + 5) + cols};
    case Layout::both_strided:
      return {3 * cols + 1, 3, (rows - 1) * (3 * cols + 1) + (cols - 1) * 3 + 1};
  }
  return {};
}

}  // namespace reckon::ops
