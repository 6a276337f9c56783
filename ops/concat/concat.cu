// Parts side by side: a strided copy each, many to a launch.
#include "ops/concat/concat_attrs.h"
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/strided_copy.cuh"

namespace reckon::ops::gpu {
namespace {

void concat_gpu(KernelArgs& a) {
  const int axis = a.as<ConcatAttrs>().axis;
  const TensorArg& y = a.out[0];
  const int64_t element = static_cast<int64_t>(size_of(y.dtype));
  std::byte* to = y.data;
  for (int first = 0; first < a.n_in; first += kConcatPartsPerLaunch) {
    StridedCopies<kConcatPartsPerLaunch> t;
    for (; t.n < kConcatPartsPerLaunch && first + t.n < a.n_in; ++t.n) {
      const TensorArg& x = a.in[first + t.n];
      t.copy[t.n] = copy_in_bytes(x.rank, x.shape, element, x.data, x.strides, to, y.strides);
      to += x.shape[axis] * y.strides[axis] * element;
    }
    launch_copies(a, first / kConcatPartsPerLaunch, t);
  }
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(concat) { return {{"concat", concat_gpu}}; }
