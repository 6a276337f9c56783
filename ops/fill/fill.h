// Writes values into an existing tensor: a constant, or random numbers that are a pure function of (seed,
// stream, element index). No gradient.
#pragma once

#include "ops/fill/fill_attrs.h"
#include "ops/op.h"

namespace reckon::ops {

void fill(const Tensor& t, double value);

// t [.., q, k]: 0 where key j may be seen by query i (j <= i + k - q), else `value`.
void fill_causal(const Tensor& t, double value);

// uniform: in (mean - spread, mean + spread). normal: standard deviation `spread`. truncated_normal: a normal
// of standard deviation `spread` cut at two of them (redrawn inside).
void fill_random(const Tensor& t, Distribution d, double mean, double spread, uint64_t seed, uint64_t stream);

// A scalar or small tensor with one value.
Tensor full(Device& device, const Shape& shape, DType dtype, double value,
            Category category = Category::transient, std::string_view label = "constant");

}  // namespace reckon::ops
