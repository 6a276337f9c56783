#include "ops/grad_scaler/grad_scaler_kernel.h"

namespace reckon::ops::RECKON_ISA {

void non_finite_cpu(KernelArgs& a) { non_finite_kernel<float>(a); }
void scaler_update_cpu(KernelArgs& a) { scaler_update_kernel<float>(a); }

}  // namespace reckon::ops::RECKON_ISA
