#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/norm_rows.cuh"
#include "ops/layer_norm/layer_norm_attrs.h"

namespace reckon::ops::gpu {
namespace {

void layer_norm_gpu(KernelArgs& a) {
  const TensorArg &x = a.in[layer_norm_in::x], &weight = a.in[layer_norm_in::weight],
                  &bias = a.in[layer_norm_in::bias], &y = a.out[0];
  const int64_t c = x.last();
  launch_norm_forward<NormKind::layer>(
      a, 0,
      {.x = elements(x),
       .weight = elements(weight),
       .bias = elements(bias),
       .y = elements(y),
       .mean = a.out[1].as<float>(),
       .rstd = a.out[2].as<float>(),
       .rows = x.rows(),
       .c = c,
       .eps = static_cast<float>(a.as<LayerNormAttrs>().eps),
       .fours = takes_fours(x, c) && takes_fours(y, c) && takes_fours(weight, c) && takes_fours(bias, c)});
}

void layer_norm_backward_gpu(KernelArgs& a) {
  const auto& t = a.as<LayerNormBackwardAttrs>();
  const TensorArg &g = a.in[layer_norm_backward_in::g], &x = a.in[layer_norm_backward_in::x],
                  &weight = a.in[layer_norm_backward_in::weight];
  const int64_t c = x.last();
  const int n_sums = t.dweight + t.dbias;
  const NormBackward p{.g = elements(g),
                       .x = elements(x),
                       .weight = elements(weight),
                       .dx = t.dx ? elements(a.out[0]) : Elements{},
                       .mean = a.in[layer_norm_backward_in::mean].as<float>(),
                       .rstd = a.in[layer_norm_backward_in::rstd].as<float>(),
                       .partial = n_sums > 0 ? reinterpret_cast<float*>(a.workspace[0]) : nullptr,
                       .rows = x.rows(),
                       .c = c,
                       .wants_weight = t.dweight,
                       .wants_bias = t.dbias,
                       .fours = takes_fours(g, c) && takes_fours(x, c) && takes_fours(weight, c) &&
                                (!t.dx || takes_fours(a.out[0], c))};
  launch_norm_backward<NormKind::layer>(a, 0, p);
  if (n_sums > 0)
    launch_norm_parameters(a, 1, p, elements(a.out[t.dx]),
                           n_sums == 2 ? elements(a.out[t.dx + 1]) : Elements{});
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(layer_norm) {
  return {{"layer_norm", layer_norm_gpu}, {"layer_norm_backward", layer_norm_backward_gpu}};
}
