#include "ops/cross_entropy/cross_entropy_kernel.h"

namespace reckon::ops::RECKON_ISA {

void cross_entropy_cpu(KernelArgs& a) { cross_entropy_kernel<float>(a); }
void cross_entropy_backward_cpu(KernelArgs& a) { cross_entropy_backward_kernel<float>(a); }

}  // namespace reckon::ops::RECKON_ISA
