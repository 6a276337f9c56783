// Builds the inputs of an op's declared cases and runs them, for the suites that go over every registered op.
#pragma once

#include <string>
#include <vector>

#include "ops/op.h"
#include "runtime/device.h"

namespace reckon::testing {

// A tensor of `type` that holds `values` rounded to it.
Tensor from_doubles(Device& device, const Shape& shape, DType type, const std::vector<double>& values);

// Inputs of a case on `device`; the same seed gives the same values for every type (rounded to it). Float
// inputs have type `dtype` unless the case fixes them to f32.
TensorList make_inputs(Device& device, const ops::OpCase& c, DType dtype, uint64_t seed);

// Ways to lay out the same values: `make` gives a tensor that shows the values of t in another layout, with NaN (in
// integers a number out of every range) in the memory around and between them; undefined where the layout needs
// more axes.
struct Relayout {
  const char* name;
  Tensor (*make)(const Tensor& t);
};
const std::vector<Relayout>& relayouts();

// t with the values at index 0 of the axis everywhere along it: a view of stride 0.
Tensor repeated_along(const Tensor& t, int axis);

// What a tensor of any device holds. Only one that is not contiguous costs an op there.
std::vector<double> to_doubles(const Tensor& t);

// Largest |a - b| over max(|b|), by element over the largest magnitude of b.
double relative_error(const std::vector<double>& a, const std::vector<double>& b);

// The one table of tolerances for outputs against float64, as a fraction of the largest element.
//   f64   1e-12  rounding of a few hundred additions
//   f32   2e-6   24-bit mantissa, sums of up to a few hundred terms, polynomial exp (2e-7)
//   bf16  1e-2   8-bit mantissa: half an ulp is 2e-3 per rounding; inputs rounded already, the result once more
//   f16   2e-3   11-bit mantissa, the same
double tolerance(DType t);

std::unique_ptr<Device> make_device(DeviceKind kind, int threads = 2, int isa_level = -1);

}  // namespace reckon::testing
