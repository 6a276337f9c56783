#include "runtime/cuda_plugin.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <vector>

namespace reckon {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> candidates() {
  if (const char* named = std::getenv("RECKON_CUDA_PLUGIN"); named && *named) return {named};
  std::error_code ec;
  const fs::path program = fs::read_symlink("/proc/self/exe", ec).parent_path();
  if (ec) return {};
  return {program / "libreckon_cuda.so", program / ".." / "lib" / "libreckon_cuda.so",
          program / ".." / "libreckon_cuda.so"};
}

}  // namespace

const char* cuda_plugin_build() { return RECKON_BUILD; }

CudaResult open_cuda(int device, bool trace) {
  fs::path file;
  std::error_code ec;
  for (const fs::path& p : candidates())
    if (file.empty() && fs::exists(p, ec)) file = p;
  if (file.empty())
    return {nullptr,
            "this build has no CUDA plugin (libreckon_cuda.so): it is built where CMake finds the CUDA "
            "toolkit, see RECKON_CUDA"};
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) return {nullptr, fmt::format("the CUDA plugin cannot be loaded: {}", dlerror())};
  // Closed only when no CUDA call was made: device code and exit handlers stay registered otherwise.
  const auto entry = reinterpret_cast<const CudaPlugin* (*)()>(dlsym(library, "reckon_cuda_plugin"));
  if (!entry) {
    dlclose(library);
    return {nullptr, fmt::format("{} is not a plugin of reckon: it has no reckon_cuda_plugin()",
                                 file.filename().string())};
  }
  const CudaPlugin* plugin = entry();
  if (std::strcmp(plugin->build, cuda_plugin_build()) != 0) {
    const std::string theirs = plugin->build;
    dlclose(library);
    return {nullptr,
            fmt::format("the CUDA plugin comes from another build ({}, this program is {}): build both again",
                        theirs, cuda_plugin_build())};
  }
  const char* why = "";
  std::unique_ptr<Backend> backend(plugin->open(device, trace, &why));
  if (backend) return {std::move(backend), ""};
  return {nullptr, why};
}

}  // namespace reckon
