#include "ops/view/view_kernel.h"

namespace reckon::ops::RECKON_ISA {

void pad_cpu(KernelArgs& a) { pad_kernel(a); }

}  // namespace reckon::ops::RECKON_ISA
