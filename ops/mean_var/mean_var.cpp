#include "ops/mean_var/mean_var.h"

#include "ops/binary/binary.h"
#include "ops/sum/sum.h"
#include "ops/view/view.h"

namespace reckon::ops {

Tensor mean(const Tensor& x, const Dims& axes, bool keep_axes) {
  int64_t n = 1;
  for (int64_t a : axes) n *= x.size(a);
  return scale(sum(x, axes, keep_axes), 1.0 / static_cast<double>(n));
}

MeanVar mean_var(const Tensor& x, const Dims& axes, bool unbiased, bool keep_axes) {
  int64_t n = 1;
  for (int64_t a : axes) n *= x.size(a);
  RECKON_CHECK(n > (unbiased ? 1 : 0), "the {} variance of {} over {} takes more than {} elements, got {}",
               unbiased ? "unbiased" : "biased", describe(x), to_string(axes), unbiased ? 1 : 0, n);
  const Tensor kept = mean(x, axes, true), centred = sub(x, kept);
  const Tensor var =
      scale(sum(mul(centred, centred), axes, keep_axes), 1.0 / static_cast<double>(n - (unbiased ? 1 : 0)));
  return {keep_axes ? kept : reshape(kept, var.shape()), var};
}

// Compositions register nothing.
std::vector<const OpDef*> mean_var_ops() { return {}; }

}  // namespace reckon::ops
