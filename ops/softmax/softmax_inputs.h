// Positions of inputs, for plans, kernels, backward and references. softmax,
// log_softmax and logsumexp take x alone.
#pragma once

namespace reckon::ops {

namespace softmax_backward_in {  // and log_softmax_backward
enum Input : int { g, y };
}
namespace logsumexp_backward_in {
enum Input : int { g, x, y };
}

}  // namespace reckon::ops
