// The norm of fused GPU ops whose rows are wider than tiles: normalised rows in memory, in the type that the
// products take, and the way back from their gradient. One planned launch each.
#pragma once

#include "ops/kernel/gpu/library_rows.h"
#include "ops/kernel/plan/norm_kind.h"

namespace reckon::ops::gpu {

struct WideNorm {
  NormKind kind;
  TensorArg x, weight, bias;  // x [.., c]; the bias may be absent
  float *mean, *rstd;         // one per row; rms has no mean
  double eps;

  // Rows [row0, row0 + rows) into `to`. `finds`: with statistics found here, else with those that are known.
  void normalise(const KernelArgs& a, int index, int64_t row0, int64_t rows, RowMatrix to, bool finds) const;

  // From dn, the gradient of those rows: their dx where it is there, and the sums of norm_gpu_pieces pieces for
  // the weight and the bias as wanted, [pieces, sums, c].
  void gradient(const KernelArgs& a, int index, int64_t row0, int64_t rows, RowMatrix dn, RowMatrix dx,
                float* partial, bool wants_weight, bool wants_bias) const;
};

}  // namespace reckon::ops::gpu
