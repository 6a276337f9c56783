// Sums, differences, products and quotients of two tensors that broadcast, and of a tensor with constants.
#include "ops/binary/binary.h"
#include "ops/reference.h"

namespace reckon::ops {
namespace {

using Eigen::ArrayXd;

enum Operand : int { kA, kB };

// The elements of t, repeated to the shape that it broadcasts to.
ArrayXd spread(const HostTensor& t, const Shape& to) {
  ArrayXd all(numel(to));
  for (int64_t i = 0; i < all.size(); ++i) {
    int64_t rest = i, from = 0, step = 1;
    for (int axis = to.rank() - 1, own = t.shape.rank() - 1; own >= 0; --axis, --own) {
      if (t.shape[own] != 1) from += rest % to[axis] * step;
      rest /= to[axis];
      step *= t.shape[own];
    }
    all[i] = t.values[static_cast<size_t>(from)];
  }
  return all;
}

HostTensor with_values(const Shape& shape, const ArrayXd& values) {
  return {shape, std::vector<double>(values.begin(), values.end())};
}

template <auto f>
HostTensors of_two(const ReferenceCall& c) {
  const Shape shape = broadcast_shapes(c.in[kA].shape, c.in[kB].shape);
  return {with_values(shape, f(spread(c.in[kA], shape), spread(c.in[kB], shape)))};
}

ArrayXd sum(const ArrayXd& a, const ArrayXd& b) { return a + b; }
ArrayXd difference(const ArrayXd& a, const ArrayXd& b) { return a - b; }
ArrayXd product(const ArrayXd& a, const ArrayXd& b) { return a * b; }
ArrayXd quotient(const ArrayXd& a, const ArrayXd& b) { return a / b; }

HostTensors scaled(const ReferenceCall& c) {  // scale's shift is 0
  const auto& t = c.as<AffineAttrs>();
  return {with_values(c.in[0].shape, t.scale * c.in[0].flat() + t.shift)};
}

OpValues by_hand(HostTensors inputs, HostTensor output, AttrsPtr attrs = nullptr) {
  return {.name = "by hand",
          .inputs = std::move(inputs),
          .attrs = std::move(attrs),
          .outputs = {std::move(output)},
          .source = "arithmetic of small numbers"};
}

}  // namespace

std::vector<OpReference> binary_references() {
  const HostTensor a{{2, 2}, {1, 2, 3, -4}}, row{{2}, {2, -8}};
  return {{.op = "add",
           .compute = of_two<sum>,
           .values = {by_hand({a, row}, {{2, 2}, {3, -6, 5, -12}})},
           .golden = {"ops/broadcast_add_mul_a.safetensors"}},
          {.op = "sub", .compute = of_two<difference>, .values = {by_hand({a, row}, {{2, 2}, {-1, 10, 1, 4}})}},
          {.op = "mul",
           .compute = of_two<product>,
           .values = {by_hand({a, row}, {{2, 2}, {2, -16, 6, 32}})},
           .golden = {"ops/broadcast_add_mul_a.safetensors"}},
          {.op = "div",
           .compute = of_two<quotient>,
           .values = {by_hand({a, row}, {{2, 2}, {0.5, -0.25, 1.5, 0.5}})}},
          {.op = "affine",
           .compute = scaled,
           .values = {by_hand({a}, {{2, 2}, {2.5, 4.5, 6.5, -7.5}}, std::make_shared<AffineAttrs>(2.0, 0.5))}},
          {.op = "scale",
           .compute = scaled,
           .values = {by_hand({a}, {{2, 2}, {-3, -6, -9, 12}}, std::make_shared<AffineAttrs>(-3.0, 0.0))}},
          {.op = "accumulate",
           .compute = of_two<sum>,
           .values = {by_hand({a, {{2, 2}, {1, 1, 0, 4}}}, {{2, 2}, {2, 3, 3, 0}})}}};
}

}  // namespace reckon::ops
