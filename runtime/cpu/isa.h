// Which vector instructions this processor and kernel allow. Kernels are compiled once per level and chosen
// here, so one binary runs on old and new machines.
#pragma once

#include <string_view>

namespace reckon {

enum class IsaLevel { v1, v3, v4, amx };  // x86-64, -v3 (AVX2), -v4 (AVX-512), v4 with AMX bf16 tiles

std::string_view name_of(IsaLevel level);
IsaLevel isa_level_from_name(std::string_view name);  // Error on an unknown name

IsaLevel machine_isa_level();  // what processor and kernel offer
IsaLevel cpu_isa_level();  // the same, lowered by the environment variable RECKON_MAX_ISA = v1 | v3 | v4 | amx

}  // namespace reckon
