#include "ops/dropout/dropout_kernel.h"

namespace reckon::ops::RECKON_ISA {

void dropout_cpu(KernelArgs& a) { dropout_kernel<float>(a); }
void dropout_backward_cpu(KernelArgs& a) { dropout_backward_kernel<float>(a); }
void dropout_add_cpu(KernelArgs& a) { dropout_redraw_kernel<float, true>(a); }
void dropout_redraw_cpu(KernelArgs& a) { dropout_redraw_kernel<float, false>(a); }

}  // namespace reckon::ops::RECKON_ISA
