#include "ops/linear_cross_entropy/linear_cross_entropy_tiled.h"

namespace reckon::ops::RECKON_ISA {

void linear_cross_entropy_cpu(KernelArgs& a) { linear_cross_entropy_tiled(a); }
void linear_cross_entropy_backward_cpu(KernelArgs& a) { linear_cross_entropy_backward_tiled(a); }

}  // namespace reckon::ops::RECKON_ISA
