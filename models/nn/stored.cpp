#include "models/nn/stored.h"

#include <algorithm>
#include <cstring>

#include "runtime/core/error.h"

namespace reckon::models {
namespace {

using data::StoredType;

float value_at(const std::byte* p, StoredType type) {
  uint16_t bits;
  switch (type) {
    case StoredType::F64: {
      double v;
      std::memcpy(&v, p, 8);
      return static_cast<float>(v);
    }
    case StoredType::F32: {
      float v;
      std::memcpy(&v, p, 4);
      return v;
    }
    case StoredType::BF16:
      std::memcpy(&bits, p, 2);
      return bf16_to_f32(bits);
    default:
      std::memcpy(&bits, p, 2);
      return f16_to_f32(bits);
  }
}

}  // namespace

bool is_weight_type(StoredType t) {
  return t == StoredType::F64 || t == StoredType::F32 || t == StoredType::BF16 || t == StoredType::F16;
}

void narrow(const float* from, DType type, std::span<std::byte> to) {
  const size_t n = to.size() / 2;
  for (size_t i = 0; i < n; ++i) {
    const uint16_t bits = type == DType::bf16 ? f32_to_bf16(from[i]) : f32_to_f16(from[i]);
    std::memcpy(to.data() + 2 * i, &bits, 2);
  }
}

void fill_parameter(const data::TensorView& from, int64_t first, const Tensor& to) {
  RECKON_CHECK(is_weight_type(from.dtype) && (to.dtype() == DType::f32 || to.dtype() == DType::bf16),
               "stored {} does not become a parameter {}", data::name_of(from.dtype), describe(to));
  const size_t width = data::size_of(from.dtype), n = static_cast<size_t>(to.numel());
  const std::byte* bytes = from.bytes.data() + width * static_cast<size_t>(first);
  if (data::stored_type(to.dtype()) == from.dtype) {
    to.copy_from_host(bytes, width * n);
  } else {
    std::vector<float> values(n);
    for (size_t i = 0; i < n; ++i) values[i] = value_at(bytes + width * i, from.dtype);
    if (to.dtype() == DType::f32) {
      to.copy_from_host(values.data(), n * sizeof(float));
    } else {
      std::vector<std::byte> narrowed(2 * n);
      narrow(values.data(), to.dtype(), narrowed);
      to.copy_from_host(narrowed.data(), narrowed.size());
    }
  }
}

}  // namespace reckon::models
