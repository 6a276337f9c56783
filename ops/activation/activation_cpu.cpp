#include "ops/activation/activation_kernel.h"

namespace reckon::ops::RECKON_ISA {

#define RECKON_ACTIVATION_ENTRIES(name, ...)                  \
  void name##_cpu(KernelArgs& a) { name##_kernel<float>(a); } \
  void name##_backward_cpu(KernelArgs& a) { name##_backward_kernel<float>(a); }
RECKON_ACTIVATIONS(RECKON_ACTIVATION_ENTRIES)

}  // namespace reckon::ops::RECKON_ISA
