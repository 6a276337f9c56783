// A device of kind cuda whose kernels run on the host, thread by thread, and whose matrix products
// are the CPU's. It lets a machine without a GPU run whole models through the GPU's plans and
// kernels: for tests, far too slow for use.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "runtime/backend.h"

namespace simt {

std::unique_ptr<reckon::Backend> make_backend();

// The hardware it claims to be: a small Hopper.
reckon::DeviceSpec spec();

// Ops of the registry whose kernel no device of this process was asked for: a test
// of all kernels must leave none.
std::vector<std::string_view> kernels_never_run();

}  // namespace simt
