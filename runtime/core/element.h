// One element of a tensor's bytes as a number, whatever its type: for fills, casts of 8-bit floats, the
// emulated library, golden cases and tests. Kernels are templates over the type instead; nothing that is
// compiled once per instruction set may include this.
#pragma once

#include <cstddef>
#include <vector>

#include "runtime/core/dtype.h"

namespace reckon {

inline double load_element(const void* data, DType t, int64_t i) {
  switch (t) {
    case DType::f32:
      return static_cast<const float*>(data)[i];
    case DType::bf16:
      return to_f32(static_cast<const bf16*>(data)[i]);
    case DType::f16:
      return to_f32(static_cast<const f16*>(data)[i]);
    case DType::f64:
      return static_cast<const double*>(data)[i];
    case DType::i64:
      return static_cast<double>(static_cast<const int64_t*>(data)[i]);
    case DType::u8:
      return static_cast<const uint8_t*>(data)[i];
    case DType::f8e4m3:
      return f8e4m3_to_f32(static_cast<const uint8_t*>(data)[i]);
    case DType::f8e5m2:
      return f8e5m2_to_f32(static_cast<const uint8_t*>(data)[i]);
  }
  return 0;
}

// Floats are rounded once, integers are cut towards zero.
inline void store_element(void* data, DType t, int64_t i, double v) {
  switch (t) {
    case DType::f32:
      static_cast<float*>(data)[i] = static_cast<float>(v);
      break;
    case DType::bf16:
      static_cast<bf16*>(data)[i].bits = f64_to_bf16(v);
      break;
    case DType::f16:
      static_cast<f16*>(data)[i].bits = f64_to_f16(v);
      break;
    case DType::f64:
      static_cast<double*>(data)[i] = v;
      break;
    case DType::i64:
      static_cast<int64_t*>(data)[i] = static_cast<int64_t>(v);
      break;
    case DType::u8:
      static_cast<uint8_t*>(data)[i] = static_cast<uint8_t>(v);
      break;
    case DType::f8e4m3:
      static_cast<uint8_t*>(data)[i] = f32_to_f8e4m3(f64_to_f32_odd(v));
      break;
    case DType::f8e5m2:
      static_cast<uint8_t*>(data)[i] = f32_to_f8e5m2(f64_to_f32_odd(v));
      break;
  }
}

// A whole buffer of one type, from and to numbers.
inline std::vector<double> numbers_of(const std::vector<std::byte>& bytes, DType t) {
  std::vector<double> out(bytes.size() / size_of(t));
  for (size_t i = 0; i < out.size(); ++i) out[i] = load_element(bytes.data(), t, static_cast<int64_t>(i));
  return out;
}
inline std::vector<std::byte> bytes_of(const std::vector<double>& numbers, DType t) {
  std::vector<std::byte> out(numbers.size() * size_of(t));
  for (size_t i = 0; i < numbers.size(); ++i) store_element(out.data(), t, static_cast<int64_t>(i), numbers[i]);
  return out;
}

}  // namespace reckon
