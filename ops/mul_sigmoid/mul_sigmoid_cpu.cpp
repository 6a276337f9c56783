#include "ops/mul_sigmoid/mul_sigmoid_kernel.h"

namespace reckon::ops::RECKON_ISA {

void mul_sigmoid_cpu(KernelArgs& a) { mul_sigmoid_kernel<float>(a); }
void mul_sigmoid_backward_cpu(KernelArgs& a) { mul_sigmoid_backward_kernel<float>(a); }

}  // namespace reckon::ops::RECKON_ISA
