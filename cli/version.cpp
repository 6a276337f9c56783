// reckon --version: what was built, and how.
#include <fmt/format.h>

#include "cli/commands.h"

namespace reckon::cli {

std::string version_text() {
  return fmt::format("reckon {}\nbuild: {}, {} {}\nCPU kernels: {}\nCUDA plugin: {}", RECKON_VERSION,
                     RECKON_BUILD_TYPE, RECKON_COMPILER, __VERSION__, "x86-64, x86-64-v3, x86-64-v4, AMX tiles",
                     RECKON_HAS_CUDA_PLUGIN ? "built" : "not built (docs/gpu.md)");
}

}  // namespace reckon::cli
