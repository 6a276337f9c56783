#include "ops/kernel/cpu/scalar.h"

namespace reckon::ops {

thread_local int64_t Counted::n_flops = 0;
thread_local int64_t Counted::n_special = 0;

}  // namespace reckon::ops
