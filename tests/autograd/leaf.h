// A parameter for tests of the graph.
#pragma once

#include "autograd/node.h"
#include "ops/fill/fill.h"

namespace reckon::testing {

// f32, filled with one value; collects its gradient.
inline Tensor leaf(Device& d, const Shape& shape, double value) {
  Tensor t = ops::full(d, shape, DType::f32, value, Category::parameter, "leaf");
  autograd::set_requires_grad(t);
  return t;
}

}  // namespace reckon::testing
