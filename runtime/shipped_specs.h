// The hardware specs in runtime/specs/, compiled in (see runtime/CMakeLists.txt), so
// that `--spec h200` needs no file.
#pragma once

#include <span>
#include <string_view>

namespace reckon {

struct ShippedSpec {
  std::string_view name, json;
};

std::span<const ShippedSpec> shipped_specs();

}  // namespace reckon
