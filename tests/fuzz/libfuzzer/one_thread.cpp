// What the parsers link to besides themselves: runtime/cpu/threads.h without OpenMP, whose runtime clang does
// not bring along, and no hardware spec compiled in, since the targets read texts alone.
#include "runtime/cpu/threads.h"
#include "runtime/shipped_specs.h"

namespace reckon {
int cpu_threads() { return 1; }
std::span<const ShippedSpec> shipped_specs() { return {}; }
}  // namespace reckon
