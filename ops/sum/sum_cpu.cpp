#include "ops/sum/sum_kernel.h"

namespace reckon::ops::RECKON_ISA {

void sum_cpu(KernelArgs& a) { sum_kernel<float>(a); }

}  // namespace reckon::ops::RECKON_ISA
