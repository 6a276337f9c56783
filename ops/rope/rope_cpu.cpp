#include "ops/rope/rope_kernel.h"

namespace reckon::ops::RECKON_ISA {

void rope_cpu(KernelArgs& a) { rope_kernel<float>(a); }

}  // namespace reckon::ops::RECKON_ISA
