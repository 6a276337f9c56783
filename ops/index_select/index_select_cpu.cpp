#include "ops/index_select/index_select_kernel.h"

namespace reckon::ops::RECKON_ISA {

void index_select_cpu(KernelArgs& a) { index_select_kernel(a); }
void scatter_add_cpu(KernelArgs& a) { scatter_add_kernel<float>(a); }
void one_hot_cpu(KernelArgs& a) { one_hot_kernel(a); }

}  // namespace reckon::ops::RECKON_ISA
