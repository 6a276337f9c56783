// Instruction-set levels of the CPU kernels and the choice between them. A kernel source is compiled once per
// level into its own namespace; callers ask cpu_isa_level() once and pick the entry of that level.
// RECKON_MAX_ISA lowers the level (v1, v3, v4 or amx), never raises it.
#pragma once

#include <string_view>

namespace reckon::ops {

// v1, v3, v4: the x86-64 levels of the psABI (SSE2; AVX2 and FMA; AVX-512). amx: v4 with bf16 tile units.
enum class IsaLevel { v1, v3, v4, amx };

std::string_view name_of(IsaLevel level);
IsaLevel isa_level_from_name(std::string_view name);  // Error on an unknown name

IsaLevel machine_isa_level();  // what the CPU and the kernel offer
IsaLevel cpu_isa_level();      // the same, lowered by RECKON_MAX_ISA

}  // namespace reckon::ops
