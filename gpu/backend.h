// The backend of a real GPU: cudaMalloc segments under the arena, one stream, copies through pinned memory.
#pragma once

#include <memory>
#include <string>

#include "runtime/backend.h"

namespace reckon::cuda {

// Null with one line in *why when the driver, the device or code for its architecture is missing. `trace`: with
// a tracer of what the hardware does, where there is one.
std::unique_ptr<Backend> open_backend(int device, bool trace, std::string* why);

}  // namespace reckon::cuda
