// Rates of this machine, measured on the spot: the denominator of MFU.
#pragma once

#include "runtime/core/dtype.h"
#include "runtime/device_spec.h"

namespace reckon::cli {

// FLOP/s of a 1024^3 matrix product of this type with the spec's threads, best of several; takes about 0.1 s.
double measure_matmul_rate(DType type, const DeviceSpec& spec);

}  // namespace reckon::cli
