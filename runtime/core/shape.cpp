#include "runtime/core/shape.h"

#include <algorithm>

namespace reckon {

int64_t checked_multiply(int64_t a, int64_t b, const char* what) {
  int64_t product = 0;
  RECKON_CHECK(!__builtin_mul_overflow(a, b, &product), "{}: {} x {} does not fit into 64 bits", what, a, b);
  return product;
}

int64_t numel(const Shape& shape) {
  int64_t n = 1;
  for (int64_t extent : shape) {
    RECKON_CHECK(extent >= 0, "shape {} has a negative extent, {}", to_string(shape), extent);
    n = checked_multiply(n, extent, "number of elements");
  }
  return n;
}

Strides contiguous_strides(const Shape& shape) {
  Strides strides = Dims::filled(shape.rank(), 1);
  for (int i = shape.rank() - 2; i >= 0; --i) strides[i] = strides[i + 1] * std::max<int64_t>(shape[i + 1], 1);
  return strides;
}

bool is_contiguous(const Shape& shape, const Strides& strides) {
  int64_t expected = 1;
  bool in_order = true;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    if (shape[i] == 0) return true;
    in_order = in_order && (shape[i] == 1 || strides[i] == expected);
    expected *= shape[i];
  }
  return in_order;
}

Shape broadcast_shapes(const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  Shape out = Dims::filled(rank, 1);
  for (int i = 0; i < rank; ++i) {
    const int ia = i - (rank - a.rank());
    const int ib = i - (rank - b.rank());
    const int64_t ea = ia >= 0 ? a[ia] : 1;
    const int64_t eb = ib >= 0 ? b[ib] : 1;
    RECKON_CHECK(
        ea == eb || ea == 1 || eb == 1,
        "shapes {} and {} do not broadcast: axis {} has {} and {} (they must be equal, or one of them 1)",
        to_string(a), to_string(b), i, ea, eb);
    out[i] = ea == 1 ? eb : ea;
  }
  return out;
}

int normalize_axis(int64_t axis, int rank) {
  RECKON_CHECK(axis >= -rank && axis < rank, "axis {} is out of range for a tensor of rank {}", axis, rank);
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

std::string to_string(const Dims& dims) {
  return fmt::format("[{}]", fmt::join(dims.begin(), dims.end(), ", "));
}

}  // namespace reckon
