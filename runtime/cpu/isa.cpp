#include "runtime/cpu/isa.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "runtime/core/error.h"

namespace reckon {
namespace {

// Linux enables the tile registers per process and on request only, because they enlarge every context switch.
bool tile_registers_granted() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool cpu_has_bf16_tiles() {
  constexpr unsigned kAmxBf16 = 1u << 22, kAmxTile = 1u << 24;  // leaf 7, edx
  constexpr unsigned kAvx512Bf16 = 1u << 5;                     // leaf 7.1, eax
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  if ((edx & kAmxBf16) == 0 || (edx & kAmxTile) == 0 || eax < 1) return false;
  __cpuid_count(7, 1, eax, ebx, ecx, edx);
  return (eax & kAvx512Bf16) != 0;
}

// The names of the levels are unknown to clang before 17; these features tell them apart on every CPU there is.
bool has_v3() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
         __builtin_cpu_supports("bmi2");
}
bool has_v4() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

IsaLevel detect() {
  __builtin_cpu_init();
  if (!has_v3()) return IsaLevel::v1;
  if (!has_v4()) return IsaLevel::v3;
  return cpu_has_bf16_tiles() && tile_registers_granted() ? IsaLevel::amx : IsaLevel::v4;
}

}  // namespace

std::string_view name_of(IsaLevel level) {
  switch (level) {
    case IsaLevel::v1:
      return "v1";
    case IsaLevel::v3:
      return "v3";
    case IsaLevel::v4:
      return "v4";
    case IsaLevel::amx:
      return "amx";
  }
  return "?";
}

IsaLevel isa_level_from_name(std::string_view name) {
  for (const IsaLevel level : {IsaLevel::v1, IsaLevel::v3, IsaLevel::v4, IsaLevel::amx})
    if (name == name_of(level)) return level;
  raise_error(fmt::format(
      "unknown instruction-set level '{}': expected v1, v3, v4 or amx (check RECKON_MAX_ISA)", name));
}

IsaLevel machine_isa_level() {
  static const IsaLevel level = detect();
  return level;
}

IsaLevel cpu_isa_level() {
  static const IsaLevel level = [] {
    const char* limit = std::getenv("RECKON_MAX_ISA");
    if (limit == nullptr || *limit == '\0') return machine_isa_level();
    return std::min(machine_isa_level(), isa_level_from_name(limit));
  }();
  return level;
}

}  // namespace reckon
