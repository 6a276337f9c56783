// What a caller of outer_product_mean may choose. Apart from the op's header so that kernels can
// read it without seeing tensors.
#pragma once

#include <cstdint>

namespace reckon::ops {

struct OuterProductMeanOptions {
  enum class Normalize : uint8_t {
    none,           // W z + bias
    divide_after,   // (W z + bias) / (eps + count)
    divide_before,  // W (z / max(count, 1)) + bias
  };
  Normalize normalize = Normalize::divide_after;
  double eps = 1e-3;
};

}  // namespace reckon::ops
