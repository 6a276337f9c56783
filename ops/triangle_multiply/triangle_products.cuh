// The library's products over all channels of all batch elements, as one batch.
#pragma once

#include "ops/kernel/plan/device_gemm.h"
#include "ops/triangle_multiply/triangle_multiply_gpu.h"

namespace reckon::ops::gpu {

struct ChannelMatrices {
  std::byte* data;  // [B c, r, ld]
  bool transposed;
};

// c = a b, channel by channel. Workspace 0 is the library's.
inline void multiply_channels(const KernelArgs& args, int index, const TriangleSizes& s, ChannelMatrices a,
                              ChannelMatrices b, std::byte* c) {
  const int64_t ld = s.ld(), step = s.r * ld;
  GemmCall call;
  call.problem = {.m = s.r,
                  .n = s.r,
                  .k = s.r,
                  .a = {a.data, s.low, a.transposed ? 1 : ld, a.transposed ? ld : 1},
                  .b = {b.data, s.low, b.transposed ? 1 : ld, b.transposed ? ld : 1},
                  .c = c,
                  .c_dtype = s.low,
                  .c_row_stride = ld,
                  .c_col_stride = 1};
  call.batch.rank = 1;
  call.batch.size[0] = s.batches * s.c;
  call.batch.a_stride[0] = call.batch.b_stride[0] = call.batch.c_stride[0] = step;
  library_gemm(args, index, call, args.workspace[0], args.library_workspace_bytes);
}

}  // namespace reckon::ops::gpu
