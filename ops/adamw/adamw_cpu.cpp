#include "ops/adamw/adamw_kernel.h"

namespace reckon::ops::RECKON_ISA {

void scale_in_place_cpu(KernelArgs& a) { scale_in_place_kernel<float>(a); }
void lerp_cpu(KernelArgs& a) { lerp_kernel<float>(a); }
void lerp_square_cpu(KernelArgs& a) { lerp_square_kernel<float>(a); }
void scaled_sum_cpu(KernelArgs& a) { scaled_sum_kernel<float>(a); }
void denominator_cpu(KernelArgs& a) { denominator_kernel<float>(a); }
void add_quotient_cpu(KernelArgs& a) { add_quotient_kernel<float>(a); }
void adamw_all_cpu(KernelArgs& a) { adamw_all_kernel<float>(a); }

}  // namespace reckon::ops::RECKON_ISA
