// Positions of inputs, for plans, kernels, backward and references. softmax,
// log_softmax and logsumexp take x alone.
#pragma once

namespace reckon::ops {

namespace softmax_backward_in {  // and log_softmax_backward
enum Input : int { g, y };
}
namespace logsumexp_backward_in {
enum Input : int { g, x, statistics };
}
namespace logsumexp_out {
// statistics [2, ..]: the maximum of a row, then the logarithm of the sum of exp(x - maximum). They stay apart: in
// the result itself a common offset of the row would swallow the logarithm.
enum Output : int { y, statistics };
}  // namespace logsumexp_out

}  // namespace reckon::ops
