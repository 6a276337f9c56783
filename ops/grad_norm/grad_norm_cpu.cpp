#include "ops/grad_norm/grad_norm_kernel.h"

namespace reckon::ops::RECKON_ISA {

void sum_squares_cpu(KernelArgs& a) { sum_squares_kernel<float>(a); }
void root_of_sum_cpu(KernelArgs& a) { root_of_sum_kernel<float>(a); }
void grad_norm_cpu(KernelArgs& a) { grad_norm_kernel<float>(a); }
void clip_coefficient_cpu(KernelArgs& a) { clip_coefficient_kernel<float>(a); }
void scale_all_cpu(KernelArgs& a) { scale_all_kernel<float>(a); }

}  // namespace reckon::ops::RECKON_ISA
