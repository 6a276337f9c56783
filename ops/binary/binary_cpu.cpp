#include "ops/binary/binary_kernel.h"

namespace reckon::ops::RECKON_ISA {

void add_cpu(KernelArgs& a) { add_kernel<float>(a); }
void sub_cpu(KernelArgs& a) { sub_kernel<float>(a); }
void mul_cpu(KernelArgs& a) { mul_kernel<float>(a); }
void div_cpu(KernelArgs& a) { div_kernel<float>(a); }
void affine_cpu(KernelArgs& a) { affine_kernel<float>(a); }
void scale_cpu(KernelArgs& a) { scale_kernel<float>(a); }

}  // namespace reckon::ops::RECKON_ISA
