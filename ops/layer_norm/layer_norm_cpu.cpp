#include "ops/layer_norm/layer_norm_kernel.h"

namespace reckon::ops::RECKON_ISA {

void layer_norm_cpu(KernelArgs& a) { layer_norm_kernel<float>(a); }
void layer_norm_backward_cpu(KernelArgs& a) { layer_norm_backward_kernel<float>(a); }

}  // namespace reckon::ops::RECKON_ISA
