// Extents and strides of a tensor: a small inline vector, so that views and plans never touch the heap.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "runtime/core/error.h"
#include "runtime/core/rank.h"

namespace reckon {

// a * b, or an Error naming what overflowed; sizes in this project never wrap.
int64_t checked_multiply(int64_t a, int64_t b, const char* what);

class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<int64_t> values) : Dims(std::span<const int64_t>(values.begin(), values.size())) {}
  explicit Dims(std::span<const int64_t> values) : rank_(static_cast<int>(values.size())) {
    RECKON_CHECK(values.size() <= kMaxRank, "rank {} is above the largest supported rank {}", values.size(),
                 kMaxRank);
    for (int i = 0; i < rank_; ++i) values_[i] = values[i];
  }
  static Dims filled(int rank, int64_t value) {
    Dims d;
    for (int i = 0; i < rank; ++i) d.push_back(value);
    return d;
  }

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return values_[i]; }
  int64_t& operator[](int i) { return values_[i]; }
  int64_t back() const { return values_[rank_ - 1]; }
  const int64_t* begin() const { return values_; }
  const int64_t* end() const { return values_ + rank_; }
  void push_back(int64_t v) {
    RECKON_CHECK(rank_ < kMaxRank, "rank {} is above the largest supported rank {}", rank_ + 1, kMaxRank);
    values_[rank_++] = v;
  }
  Dims slice(int first, int last) const {
    return Dims(std::span<const int64_t>(values_ + first, last - first));
  }

  friend bool operator==(const Dims& a, const Dims& b) {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i)
      if (a.values_[i] != b.values_[i]) return false;
    return true;
  }

 private:
  int64_t values_[kMaxRank] = {};
  int rank_ = 0;
};

using Shape = Dims;
using Strides = Dims;

int64_t numel(const Shape& shape);                               // Error on overflow and on a negative extent
Strides contiguous_strides(const Shape& shape);                  // row-major, in elements
bool is_contiguous(const Shape& shape, const Strides& strides);  // always without elements
Shape broadcast_shapes(const Shape& a, const Shape& b);          // Error names both shapes and the axis
int normalize_axis(int64_t axis, int rank);                      // -1 is the last axis; Error when out of range
std::string to_string(const Dims& dims);                         // "[2, 3, 4]"

}  // namespace reckon
