// Where a printed figure comes from, and the mark that says so. Every table of the reports uses it.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace reckon::profiler {

enum class Origin : uint8_t { measured, counted, derived, formula };
inline constexpr int kOrigins = 4;

constexpr std::string_view name_of(Origin o) {
  constexpr std::array<std::string_view, kOrigins> names{"measured", "counted", "derived", "formula"};
  return names[static_cast<size_t>(o)];
}

constexpr std::string_view mark_of(Origin o) {
  constexpr std::array<std::string_view, kOrigins> marks{"[m]", "[c]", "[d]", "[f]"};
  return marks[static_cast<size_t>(o)];
}

}  // namespace reckon::profiler
