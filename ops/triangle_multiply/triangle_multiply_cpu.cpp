#include "ops/triangle_multiply/triangle_multiply_backward_kernel.h"

namespace reckon::ops::RECKON_ISA {

void triangle_multiply_cpu(KernelArgs& a) { triangle_multiply_kernel<float>(a); }
void triangle_multiply_backward_cpu(KernelArgs& a) { triangle_multiply_backward_kernel<float>(a); }

}  // namespace reckon::ops::RECKON_ISA
