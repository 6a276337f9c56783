#include "ops/rms_norm/rms_norm_kernel.h"

namespace reckon::ops::RECKON_ISA {

void rms_norm_cpu(KernelArgs& a) { rms_norm_kernel<float>(a); }
void rms_norm_backward_cpu(KernelArgs& a) { rms_norm_backward_kernel<float>(a); }

}  // namespace reckon::ops::RECKON_ISA
