#include "ops/sgd/sgd_kernel.h"

namespace reckon::ops::RECKON_ISA {

void sgd_cpu(KernelArgs& a) { sgd_kernel<float>(a); }

}  // namespace reckon::ops::RECKON_ISA
