#include "ops/cast/cast_kernel.h"

namespace reckon::ops::RECKON_ISA {

void cast_cpu(KernelArgs& a) { cast_kernel<float>(a); }
void cast_all_cpu(KernelArgs& a) { cast_all_kernel<float>(a); }
void contiguous_cpu(KernelArgs& a) { contiguous_kernel<float>(a); }

}  // namespace reckon::ops::RECKON_ISA
