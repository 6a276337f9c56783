// Values of a safetensors file as parameters. Called by the readers of Hugging
// Face folders and of block weights.
#pragma once

#include "models/data/safetensors.h"
#include "runtime/tensor.h"

namespace reckon::models {

// Types whose values become a parameter: F64, F32, BF16, F16.
bool is_weight_type(data::StoredType type);

// Writes elements [first, first + to.numel()) of `from` to the parameter (f32 or bf16), rounding to nearest
// even where it is narrower than the file. The bytes of the file may be unaligned.
void fill_parameter(const data::TensorView& from, int64_t first, const Tensor& to);

// Rounds f32 values to bf16 or f16; `to` holds two bytes for each.
void narrow(const float* from, DType type, std::span<std::byte> to);

}  // namespace reckon::models
