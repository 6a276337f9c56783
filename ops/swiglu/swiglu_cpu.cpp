#include "ops/swiglu/swiglu_kernel.h"

namespace reckon::ops::RECKON_ISA {

void swiglu_cpu(KernelArgs& a) { swiglu_kernel<float>(a); }
void swiglu_backward_cpu(KernelArgs& a) { swiglu_backward_kernel<float>(a); }

}  // namespace reckon::ops::RECKON_ISA
