// Rates of this machine, measured on the spot: the denominator of MFU.
#pragma once

#include "runtime/core/dtype.h"
#include "runtime/device_spec.h"

namespace reckon::cli {

// FLOP/s of a 1024^3 matrix product of this type with the spec's threads, best of several; takes about 0.1 s.
double measure_matmul_rate(DType type, const DeviceSpec& spec);

// The same on the GPU itself: 4096^3, random operands, on a device of its own so
// that the run's books stay its own.
double measure_gpu_matmul_rate(DType type);

// Bytes per second, read plus written, of copying 256 MiB with this many threads, best
// of several; takes about 0.3 s.
double measure_copy_rate(int threads);

}  // namespace reckon::cli
