#include "ops/attention/attention_backward_tiled.h"
#include "ops/attention/attention_tiled.h"

namespace reckon::ops::RECKON_ISA {

void attention_cpu(KernelArgs& a) { attention_tiled(a); }
void attention_backward_cpu(KernelArgs& a) { attention_backward_tiled(a); }

}  // namespace reckon::ops::RECKON_ISA
