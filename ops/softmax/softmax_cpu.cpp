#include "ops/softmax/softmax_kernel.h"

namespace reckon::ops::RECKON_ISA {

void softmax_cpu(KernelArgs& a) { softmax_kernel<float>(a); }
void softmax_backward_cpu(KernelArgs& a) { softmax_backward_kernel<float>(a); }
void log_softmax_cpu(KernelArgs& a) { log_softmax_kernel<float>(a); }
void log_softmax_backward_cpu(KernelArgs& a) { log_softmax_backward_kernel<float>(a); }
void logsumexp_cpu(KernelArgs& a) { logsumexp_kernel<float>(a); }
void logsumexp_backward_cpu(KernelArgs& a) { logsumexp_backward_kernel<float>(a); }

}  // namespace reckon::ops::RECKON_ISA
