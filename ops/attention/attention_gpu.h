// The GPU's attention kernels, one .cu each, and what the plans of both ops must know of them.
#pragma once

#include "ops/kernel_args.h"

namespace reckon::ops::gpu {

// in q, k, v, key_mask, bias; out o [B, N, Lq, H, D], lse [B, N, H, Lq].
void attention_gpu(KernelArgs& a);

}  // namespace reckon::ops::gpu
