// Which layouts of its inputs an op takes (OpDef::layouts), for dispatch.
#pragma once

#include "ops/op.h"

namespace reckon::ops {

bool takes_layouts(const OpDef& op, std::span<const Tensor> inputs);

// Error that names the (first) input whose layout the op does not take.
void check_layout(const OpDef& op, size_t input, const Tensor& t);
void check_layouts(const OpDef& op, std::span<const Tensor> inputs);

// The inputs, those in a layout that the op does not take as contiguous copies.
TensorList in_taken_layouts(const OpDef& op, std::span<const Tensor> inputs, const AttrsPtr& attrs);

// Error when the op writes memory that another of its tensors shows in another layout: what is read
// there would depend on the order of the work.
void check_no_overlap(const OpDef& op, const Plan& plan, std::span<const Tensor> inputs);

// Whether they show elements of one storage in different layouts and their memory overlaps.
bool overlap_in_other_layout(const Tensor& a, const Tensor& b);

}  // namespace reckon::ops
