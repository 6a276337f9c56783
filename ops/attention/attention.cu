#include "ops/attention/attention_gpu.h"
#include "ops/kernel/gpu/gpu_kernels.h"

RECKON_GPU_KERNELS(attention) {
  return {{"attention", reckon::ops::gpu::attention_gpu},
          {"attention_backward", reckon::ops::gpu::attention_backward_gpu}};
}
