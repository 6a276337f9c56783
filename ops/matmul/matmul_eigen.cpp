// a b, matrix by matrix; batch axes of extent 1, or that are not there, are repeated.
#include "ops/matmul/matmul_attrs.h"
#include "ops/reference.h"

namespace reckon::ops {
namespace {

// The matrix of t that stands at place `batch` of the broadcast axes of `out`.
int64_t matrix_at(const HostTensor& t, const Shape& out, int64_t batch) {
  int64_t place = 0, step = 1;
  for (int axis = -3; axis >= -out.rank(); --axis) {
    const int64_t extent = out[axis + out.rank()], index = batch % extent;
    batch /= extent;
    if (-axis > t.shape.rank()) continue;
    place += (t.size(axis) > 1 ? index : 0) * step;
    step *= t.size(axis);
  }
  return place;
}

HostTensors matmul(const ReferenceCall& c) {
  const HostTensor &a = c.in[MatmulInput::a], &b = c.in[MatmulInput::b];
  Shape shape = broadcast_shapes(a.shape.slice(0, a.shape.rank() - 2), b.shape.slice(0, b.shape.rank() - 2));
  shape.push_back(a.size(-2));
  shape.push_back(b.size(-1));
  HostTensor out(shape);
  for (int64_t i = 0; i < out.n_matrices(); ++i)
    out.matrix(i) = a.matrix(matrix_at(a, shape, i)) * b.matrix(matrix_at(b, shape, i));
  return {out};
}

}  // namespace

std::vector<OpReference> matmul_references() {
  return {{.op = "matmul",
           .compute = matmul,
           .values = {{.name = "whole numbers, one operand shared",
                       .inputs = {{{2, 1, 2}, {1, 2, 3, 4}}, {{2, 2}, {5, 6, 7, 8}}},
                       .outputs = {{{2, 1, 2}, {19, 22, 43, 50}}},
                       .source = "1*5 + 2*7, 1*6 + 2*8, 3*5 + 4*7, 3*6 + 4*8"}},
           .golden = {"ops/matmul_batched.safetensors", "ops/matmul_broadcast.safetensors"}}};
}

}  // namespace reckon::ops
