#include "calculators/devices.h"

#include <fmt/ranges.h>

#include <cctype>
#include <vector>

#include "runtime/core/error.h"

namespace reckon::calculators {
namespace {

constexpr int64_t kGB = 1'000'000'000, kGiB = int64_t{1} << 30;
constexpr KnownDevice kDevices[] = {
    {"TPUv3-core", 16 * kGiB, 61.5e12, 0},   {"RTX4090", 24 * kGB, 165.2e12, 330.3e12},
    {"A100-40GB", 40 * kGB, 312e12, 624e12}, {"A100", 80 * kGB, 312e12, 624e12},
    {"H100", 80 * kGB, 989e12, 1979e12},     {"H200", 141 * kGB, 989e12, 1979e12},
};

bool equal_but_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (std::tolower(static_cast<unsigned char>(a[i])) != std::tolower(static_cast<unsigned char>(b[i])))
      return false;
  return true;
}

}  // namespace

std::span<const KnownDevice> known_devices() { return kDevices; }

const KnownDevice* find_device(std::string_view name) {
  for (const KnownDevice& d : kDevices)
    if (equal_but_case(d.name, name)) return &d;
  return nullptr;
}

const KnownDevice& device_named(std::string_view name) {
  if (const KnownDevice* d = find_device(name)) return *d;
  std::vector<std::string_view> names;
  for (const KnownDevice& d : kDevices) names.push_back(d.name);
  raise_error(fmt::format("unknown device '{}': expected one of {}", name, fmt::join(names, ", ")));
}

}  // namespace reckon::calculators
