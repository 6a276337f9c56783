#include "ops/norm_linear/norm_linear_kernel.h"

namespace reckon::ops::RECKON_ISA {

void norm_linear_cpu(KernelArgs& a) { norm_linear_kernel<float>(a); }
void norm_linear_backward_cpu(KernelArgs& a) { norm_linear_backward_kernel<float>(a); }

}  // namespace reckon::ops::RECKON_ISA
