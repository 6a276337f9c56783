// A dense copy of a tensor with any strides, of one float type or another: what GPU ops make of an operand that
// a library does not take. The axes are pure in shapes and strides, so plans and kernels derive the same copy.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops::gpu {

// The axes of the copy, outermost first, with the strides of the source. Neighbours that step as one are one.
struct PackAxes {
  static constexpr int kMaxRank = 6;
  int rank = 0;
  int64_t size[kMaxRank] = {};
  int64_t stride[kMaxRank] = {};  // elements; 0 repeats

  // Inside all axes added so far.
  void add(int64_t n, int64_t s) {
    if (n == 1) return;
    if (rank > 0 && stride[rank - 1] == s * n) {
      size[rank - 1] *= n;
      stride[rank - 1] = s;
      return;
    }
    size[rank] = n;
    stride[rank++] = s;
  }
  int64_t count() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= size[i];
    return n;
  }
};

// One planned launch. `to` is row-major over the axes. Types: f32, bf16, f16.
void pack(const KernelArgs& args, int launch_index, const void* from, DType from_type, void* to, DType to_type,
          const PackAxes& axes);

}  // namespace reckon::ops::gpu
