// Cross entropy of logits [.., V] with target classes i64 [..]: log(sum(exp(logits))) - logits[target] per row,
// in f32 (f64 for f64) whatever the type of the logits. A target equal to ignore_index gives loss 0, gradient 0
// and does not count in the mean (no counted target: NaN); any other target outside [0, V) is an Error, on a
// GPU a row of NaN. Keeps the logits, the targets and two f32 per row; never a softmax of [.., V].
#pragma once

#include "ops/op.h"
#include "ops/reduction.h"

namespace reckon::ops {

Tensor cross_entropy(const Tensor& logits, const Tensor& targets, Reduction reduction,
                     int64_t ignore_index = -100);

}  // namespace reckon::ops
