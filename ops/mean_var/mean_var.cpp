#include "ops/mean_var/mean_var.h"

#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/rules.h"
#include "ops/sum/sum.h"
#include "ops/view/view.h"

namespace reckon::ops {

Tensor mean(const Tensor& x, const Dims& axes, bool keep_axes) {
  int64_t n = 1;
  for (int64_t a : axes) n *= x.size(a);
  return sum_over(x, axes, keep_axes, static_cast<double>(n));
}

MeanVar mean_var(const Tensor& x, const Dims& axes, bool unbiased, bool keep_axes) {
  int64_t n = 1;
  for (int64_t a : axes) n *= x.size(a);
  RECKON_CHECK(n > (unbiased ? 1 : 0), "the {} variance of {} over {} takes more than {} elements, got {}",
               unbiased ? "unbiased" : "biased", describe(x), to_string(axes), unbiased ? 1 : 0, n);
  // In 16 bits the squares of ordinary values would leave the type's range, and the mean would be rounded before
  // it is taken off.
  const Tensor wide = cast(x, accumulation_dtype(x.dtype()));
  const Tensor kept = mean(wide, axes, true), centred = sub(wide, kept);
  const Tensor var = cast(
      sum_over(mul(centred, centred), axes, keep_axes, static_cast<double>(n - (unbiased ? 1 : 0))), x.dtype());
  const Tensor mean = cast(kept, x.dtype());
  return {keep_axes ? mean : reshape(mean, var.shape()), var};
}

// Compositions register nothing.
std::vector<const OpDef*> mean_var_ops() { return {}; }

}  // namespace reckon::ops
