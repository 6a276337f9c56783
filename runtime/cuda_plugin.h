// Finds and opens the CUDA plugin. All CUDA code lives in one shared library that is opened only when a GPU is
// asked for, so that a run on the CPU pays nothing for it and needs neither toolkit nor driver.
#pragma once

#include <memory>
#include <string>

#include "runtime/backend.h"

namespace reckon {

// What the plugin's one exported function, reckon_cuda_plugin(), returns. `build` must equal the program's own.
struct CudaPlugin {
  const char* build;
  // A backend, or null with one line in *why (driver, device or architecture missing). `trace`: make ready to
  // watch the hardware, which must happen before the device's context exists (Backend::tracer).
  Backend* (*open)(int device, bool trace, const char** why);
};

// Says which build made program and plugin: both must come from one.
const char* cuda_plugin_build();

struct CudaResult {
  std::unique_ptr<Backend> backend;  // null when there is none
  std::string why;                   // one line: what is missing
};

// Searched: the file RECKON_CUDA_PLUGIN names, else libreckon_cuda.so beside the
// program or in ../lib. Never throws.
CudaResult open_cuda(int device = 0, bool trace = false);

}  // namespace reckon
