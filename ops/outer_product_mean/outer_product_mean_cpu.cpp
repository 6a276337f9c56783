#include "ops/outer_product_mean/outer_product_mean_kernel.h"

namespace reckon::ops::RECKON_ISA {

void outer_product_mean_cpu(KernelArgs& a) { outer_product_mean_kernel<float>(a); }
void outer_product_mean_backward_cpu(KernelArgs& a) { outer_product_mean_backward_kernel<float>(a); }

}  // namespace reckon::ops::RECKON_ISA
