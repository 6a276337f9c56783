#include "ops/masked_fill/masked_fill_kernel.h"

namespace reckon::ops::RECKON_ISA {

void masked_fill_cpu(KernelArgs& a) { masked_fill_kernel<float>(a); }

}  // namespace reckon::ops::RECKON_ISA
