// Independent references: every op once more in f64, written plainly for a reader, beside its cases in
// ops/<op>/<op>_eigen.cpp, with values from outside this project. Only tests link them. They include attributes
// and names of inputs, never a kernel: an op's f64, f32 and counted kernels are one template, so that a wrong
// formula in it agrees with itself everywhere but here.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ops/op.h"

namespace reckon::ops {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using RowArray = Eigen::Array<double, 1, Eigen::Dynamic, Eigen::RowMajor>;

// A tensor on the host, row-major. Whole numbers (ids, flags) are held as doubles too; `dtype` f64 stands for
// the float type of the run.
struct HostTensor {
  Shape shape;
  std::vector<double> values;
  DType dtype = DType::f64;
  bool defined = false;  // false: an optional input that is absent, or an output that the reference leaves out

  HostTensor() = default;
  HostTensor(Shape s, std::vector<double> v, DType t = DType::f64)
      : shape(s), values(std::move(v)), dtype(t), defined(true) {
    RECKON_CHECK(reckon::numel(shape) == static_cast<int64_t>(values.size()),
                 "{} values for a tensor of shape {}", values.size(), to_string(shape));
  }
  explicit HostTensor(Shape s) : HostTensor(s, std::vector<double>(static_cast<size_t>(reckon::numel(s)))) {}

  int64_t numel() const { return static_cast<int64_t>(values.size()); }
  int64_t size(int axis) const { return shape[normalize_axis(axis, shape.rank())]; }
  int64_t last() const { return shape.rank() ? size(-1) : 1; }
  int64_t n_rows() const { return reckon::numel(shape.slice(0, std::max(0, shape.rank() - 1))); }
  int64_t n_matrices() const { return reckon::numel(shape.slice(0, shape.rank() - 2)); }

  // Views for Eigen: all elements; all axes but the last as rows; one matrix of the last two axes.
  Eigen::Map<Eigen::ArrayXd> flat() { return {values.data(), numel()}; }
  Eigen::Map<const Eigen::ArrayXd> flat() const { return {values.data(), numel()}; }
  Eigen::Map<RowMajor> rows() { return {values.data(), n_rows(), last()}; }
  Eigen::Map<const RowMajor> rows() const { return {values.data(), n_rows(), last()}; }
  Eigen::Map<RowMajor> matrix(int64_t i) {
    return {values.data() + i * size(-2) * size(-1), size(-2), size(-1)};
  }
  Eigen::Map<const RowMajor> matrix(int64_t i) const {
    return {values.data() + i * size(-2) * size(-1), size(-2), size(-1)};
  }

  // One element by its indices, one per axis.
  double& at(const Dims& index) { return values[position(index)]; }
  double at(const Dims& index) const { return values[position(index)]; }

 private:
  size_t position(const Dims& index) const {
    RECKON_ASSERT(index.rank() == shape.rank());
    int64_t p = 0;
    for (int i = 0; i < shape.rank(); ++i) p = p * shape[i] + index[i];
    return static_cast<size_t>(p);
  }
};

inline HostTensor whole_numbers(Shape s, std::vector<double> v) { return {s, std::move(v), DType::i64}; }

// Elements of a given shape, worked out with Eigen.
inline HostTensor shaped(const Shape& shape, const Eigen::ArrayXd& values) {
  return {shape, std::vector<double>(values.begin(), values.end())};
}

// Calls f(index) for every element of `shape`, in row-major order.
void for_each_index(const Shape& shape, auto f) {
  Dims index = Dims::filled(shape.rank(), 0);
  for (int64_t left = numel(shape); left > 0; --left) {
    f(std::as_const(index));
    for (int a = shape.rank() - 1; a >= 0 && ++index[a] == shape[a]; --a) index[a] = 0;
  }
}

using HostTensors = std::vector<HostTensor>;

struct ReferenceCall {
  std::span<const HostTensor> in;
  const Attrs* attrs = nullptr;
  bool keeps = false;  // an input needs a gradient: some ops then give more outputs, for their own backward

  template <class A>
  const A& as() const {
    return static_cast<const A&>(*attrs);
  }
};

// All outputs of the op, in order. One that is not differentiable (what only the op's own backward reads) may
// be left undefined; an output past those that the plan makes is not looked at.
using ReferenceFn = HostTensors (*)(const ReferenceCall&);

// What the op gives according to somebody else: worked out by hand, or printed by public code.
struct OpValues {
  std::string name;
  HostTensors inputs;
  AttrsPtr attrs;
  HostTensors outputs;
  std::string source;        // the derivation, or what printed the numbers
  double precision = 1e-12;  // of the numbers written down, as a fraction of the largest
};

struct OpReference {
  const char* op;
  ReferenceFn compute;
  std::vector<OpValues> values;
  // Files under tests/reference whose run by `reckon parity` calls this op (backward ops: through the gradients
  // in it). An op needs `values` or these.
  std::vector<const char*> golden;
};

// Of all folders in ops/CMakeLists.txt, generated as the list of ops is.
std::span<const OpReference> all_references();

}  // namespace reckon::ops
