#include "ops/concat/concat_kernel.h"

namespace reckon::ops::RECKON_ISA {

void concat_cpu(KernelArgs& a) { concat_kernel(a); }

}  // namespace reckon::ops::RECKON_ISA
