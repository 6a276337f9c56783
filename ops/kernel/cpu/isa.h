// The kernels' view of runtime/cpu/isa.h.
#pragma once

#include "runtime/cpu/isa.h"

namespace reckon::ops {

using reckon::cpu_isa_level;
using reckon::isa_level_from_name;
using reckon::IsaLevel;
using reckon::machine_isa_level;

}  // namespace reckon::ops
