#include "ops/copy_into/copy_into_kernel.h"

namespace reckon::ops::RECKON_ISA {

void copy_into_cpu(KernelArgs& a) { copy_into_kernel(a); }

}  // namespace reckon::ops::RECKON_ISA
