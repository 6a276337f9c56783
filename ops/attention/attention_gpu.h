// The GPU's attention: what attention.cu registers.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops::gpu {

// in q, k, v, key_mask, bias; out o [B, N, Lq, H, D], statistics [2, B, N, H, Lq].
void attention_gpu(KernelArgs& a);

// in g [B, N, Lq, H, D], q, k, v, key_mask, bias, o, statistics; out those wanted of dq, dk, dv, dbias. Workspaces,
// where needed: delta [B, N, H, Lq], and the partial sums of dbias over ranges of the rows that share it.
void attention_backward_gpu(KernelArgs& a);

}  // namespace reckon::ops::gpu
