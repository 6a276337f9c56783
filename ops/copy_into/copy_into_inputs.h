// Positions of inputs, for the plan, the kernels and the reference.
#pragma once

namespace reckon::ops {

namespace copy_into_in {
enum Input : int { target, source };
}

}  // namespace reckon::ops
