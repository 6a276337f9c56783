// Where commands get their device from, and `reckon devices`.
#pragma once

#include <memory>
#include <string>

#include "runtime/device.h"

namespace reckon::cli {

// cuda: takes `opened`, else opens the plugin; Error with the reason when it cannot. cpu
// and meta take `spec` as it is.
std::unique_ptr<Device> open_device(DeviceKind kind, DeviceSpec spec, DeviceOptions options = {},
                                    std::unique_ptr<Backend> opened = nullptr);

// Where cuda cannot be had: says why in one line on stderr and puts cpu in its place; null then, and for
// other devices. For commands whose result does not depend on where it was computed. `trace`: see
// CudaPlugin::open. The context that is made here stays, so a run that is to be traced must use this
// backend and open no other before.
std::unique_ptr<Backend> fall_back_to_cpu(DeviceKind& device, bool trace = false);

// What `--spec TEXT` stands for: this machine's CPU when empty. Error unless `device` is meta.
DeviceSpec spec_from_flags(const std::string& spec, DeviceKind device);

std::string spec_help();

// "avx512, 2 threads" or "NVIDIA H200, compute capability 9.0, 132 multiprocessors"
std::string hardware_of(const DeviceSpec& spec);

}  // namespace reckon::cli
