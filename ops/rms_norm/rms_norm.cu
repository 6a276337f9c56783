#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/norm_rows.cuh"
#include "ops/rms_norm/rms_norm_attrs.h"

namespace reckon::ops::gpu {
namespace {

void rms_norm_gpu(KernelArgs& a) {
  const TensorArg &x = a.in[rms_norm_in::x], &weight = a.in[rms_norm_in::weight], &y = a.out[0];
  const int64_t c = x.last();
  launch_norm_forward<NormKind::rms>(
      a, 0,
      {.x = elements(x),
       .weight = elements(weight),
       .bias = {},
       .y = elements(y),
       .mean = nullptr,
       .rstd = a.out[1].as<float>(),
       .rows = x.rows(),
       .c = c,
       .eps = static_cast<float>(a.as<RmsNormAttrs>().eps),
       .fours = takes_fours(x, c) && takes_fours(y, c) && takes_fours(weight, c)});
}

void rms_norm_backward_gpu(KernelArgs& a) {
  const TensorArg &g = a.in[rms_norm_backward_in::g], &x = a.in[rms_norm_backward_in::x],
                  &weight = a.in[rms_norm_backward_in::weight], &dx = a.out[0];
  const int64_t c = x.last();
  const NormBackward p{
      .g = elements(g),
      .x = elements(x),
      .weight = elements(weight),
      .dx = elements(dx),
      .mean = nullptr,
      .rstd = a.in[rms_norm_backward_in::rstd].as<float>(),
      .partial = reinterpret_cast<float*>(a.workspace[0]),
      .rows = x.rows(),
      .c = c,
      .wants_weight = true,
      .wants_bias = false,
      .fours = takes_fours(g, c) && takes_fours(x, c) && takes_fours(weight, c) && takes_fours(dx, c)};
  launch_norm_backward<NormKind::rms>(a, 0, p);
  launch_norm_parameters(a, 1, p, elements(a.out[1]), {});
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(rms_norm) {
  return {{"rms_norm", rms_norm_gpu}, {"rms_norm_backward", rms_norm_backward_gpu}};
}
