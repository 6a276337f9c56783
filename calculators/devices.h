// Accelerators that sizes are compared with and rates are divided by: memory as sold and peak bf16 rates as
// published. For any other hardware the commands take a spec file or a number.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "runtime/core/exact.h"

namespace reckon::calculators {

struct KnownDevice {
  std::string_view name;
  int64_t memory_bytes;  // nominal; what a process can have is a little less or more
  double dense_bf16;     // FLOP/s of a bf16 matrix product; 0 when it has none worth naming
  double sparse_bf16;    // with 2:4 structured zeros, which no training here has; 0 when there is no such mode
};

std::span<const KnownDevice> known_devices();
const KnownDevice* find_device(std::string_view name);   // case does not matter; nullptr when unknown
const KnownDevice& device_named(std::string_view name);  // Error lists the known names

}  // namespace reckon::calculators
