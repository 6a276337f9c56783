#include "ops/transition/transition_kernel.h"

namespace reckon::ops::RECKON_ISA {

void relu_transition_cpu(KernelArgs& a) { relu_transition_kernel<float>(a); }
void relu_transition_backward_cpu(KernelArgs& a) { relu_transition_backward_kernel<float>(a); }
void swiglu_transition_cpu(KernelArgs& a) { swiglu_transition_kernel<float>(a); }
void swiglu_transition_backward_cpu(KernelArgs& a) { swiglu_transition_backward_kernel<float>(a); }

}  // namespace reckon::ops::RECKON_ISA
