#include "runtime/cpu/isa.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "runtime/core/error.h"

namespace reckon {
namespace {

bool amx_bf16_allowed() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  const bool tile = d & (1u << 24), bf16 = d & (1u << 22);
  if (!tile || !bf16) return false;
  // The kernel hands out the tile registers on request (arch_prctl ARCH_REQ_XCOMP_PERM, feature 18 = XTILEDATA).
  return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
}

IsaLevel detect() {
  __builtin_cpu_init();
  IsaLevel level = IsaLevel::v1;
  if (__builtin_cpu_supports("x86-64-v3")) level = IsaLevel::v3;
  if (__builtin_cpu_supports("x86-64-v4")) level = IsaLevel::v4;
  if (level == IsaLevel::v4 && __builtin_cpu_supports("avx512bf16") && amx_bf16_allowed()) level = IsaLevel::amx;
  if (const char* cap = std::getenv("RECKON_MAX_ISA")) {
    const std::string_view name(cap);
    IsaLevel wanted{};
    if (name == "v1") wanted = IsaLevel::v1;
    else if (name == "v3") wanted = IsaLevel::v3;
    else if (name == "v4") wanted = IsaLevel::v4;
    else if (name == "amx") wanted = IsaLevel::amx;
    else raise_error(fmt::format("RECKON_MAX_ISA='{}' is not a level: expected v1, v3, v4 or amx", name));
    level = std::min(level, wanted);
  }
  return level;
}

std::atomic<int>& level_cell() {
  static std::atomic<int> cell{static_cast<int>(detect())};
  return cell;
}

}  // namespace

IsaLevel cpu_isa_level() { return static_cast<IsaLevel>(level_cell().load(std::memory_order_relaxed)); }

void limit_isa_level(IsaLevel level) { level_cell() = std::min(level_cell().load(), static_cast<int>(level)); }

std::string_view name_of(IsaLevel level) {
  switch (level) {
    case IsaLevel::v1: return "x86-64";
    case IsaLevel::v3: return "x86-64-v3";
    case IsaLevel::v4: return "x86-64-v4";
    case IsaLevel::amx: return "x86-64-v4 + AMX bf16";
  }
  return "?";
}

}  // namespace reckon
