#include "profiler/columns.h"

#include <fmt/format.h>

#include "runtime/core/format.h"

namespace reckon::profiler {

std::string number_text(int64_t n, Format format) {
  const auto value = static_cast<double>(n);
  switch (format) {
    case Format::count:
      return format_count(n);
    case Format::plain:
      return std::to_string(n);
    case Format::bytes:
      return format_bytes(value);
    case Format::scaled:
      return format_scaled(value);
    case Format::time:
      return format_seconds(value * 1e-9);
  }
  return "";
}

std::string value_text(Exact n, const How& how) {
  return how.format == Format::bytes ? format_bytes(n.to_double()) : format_count(n);
}

std::string value_text(double n, const How&) { return fmt::format("{:.6g}", n); }

std::string value_text(const Json& j, const How& how) {
  if (j.is_number_integer()) return std::to_string(j.get<int64_t>());
  if (j.is_number()) return value_text(j.get<double>(), how);
  return j.is_string() ? j.get<std::string>() : "";
}

}  // namespace reckon::profiler
