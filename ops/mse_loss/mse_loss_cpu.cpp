#include "ops/mse_loss/mse_loss_kernel.h"

namespace reckon::ops::RECKON_ISA {

void mse_loss_cpu(KernelArgs& a) { mse_loss_kernel<float>(a); }
void mse_loss_backward_cpu(KernelArgs& a) { mse_loss_backward_kernel<float>(a); }

}  // namespace reckon::ops::RECKON_ISA
