#include "ops/embedding/embedding_kernel.h"

namespace reckon::ops::RECKON_ISA {

void embedding_cpu(KernelArgs& a) { embedding_kernel<float>(a); }
void embedding_backward_cpu(KernelArgs& a) { embedding_backward_kernel<float>(a); }

}  // namespace reckon::ops::RECKON_ISA
