#include "runtime/core/format.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <string_view>

namespace reckon {

std::string format_bytes(double bytes) {
  constexpr std::array<std::string_view, 9> units{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"};
  size_t unit = 0;
  double v = bytes;
  while (std::fabs(v) >= 1024.0 && unit + 1 < units.size()) v /= 1024.0, ++unit;
  return unit == 0 ? fmt::format("{:.0f} B", v) : fmt::format("{:.2f} {}", v, units[unit]);
}

std::string format_count(int64_t n) {
  std::string digits = fmt::format("{}", n < 0 ? -n : n);
  for (int i = static_cast<int>(digits.size()) - 3; i > 0; i -= 3)
    digits.insert(static_cast<size_t>(i), 1, ',');
  return n < 0 ? "-" + digits : digits;
}

std::string format_scaled(double n) {
  constexpr std::array<std::string_view, 7> units{"", " k", " M", " G", " T", " P", " E"};
  size_t unit = 0;
  while (std::fabs(n) >= 1000.0 && unit + 1 < units.size()) n /= 1000.0, ++unit;
  return unit == 0 ? fmt::format("{:.0f}", n) : fmt::format("{:.2f}{}", n, units[unit]);
}

std::string format_seconds(double s) {
  if (s >= 1.0) return fmt::format("{:.2f} s", s);
  if (s >= 1e-3) return fmt::format("{:.2f} ms", s * 1e3);
  return fmt::format("{:.1f} us", s * 1e6);
}

}  // namespace reckon
