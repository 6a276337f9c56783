#include "models/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "runtime/core/error.h"

namespace reckon::models {

double Schedule::at(int64_t step) const {
  if (step < warmup) return lr * static_cast<double>(step) / static_cast<double>(std::max<int64_t>(warmup, 1));
  const double progress =
      static_cast<double>(step - warmup) / static_cast<double>(std::max<int64_t>(total - warmup, 1));
  switch (kind) {
    case Kind::constant:
      return lr;
    case Kind::linear:
      return lr * std::max(0.0, 1.0 - progress);
    case Kind::cosine:
      return lr * std::max(0.0, 0.5 * (1.0 + std::cos(2.0 * std::numbers::pi * cycles * progress)));
  }
  return lr;
}

Schedule::Kind Schedule::kind_from_name(std::string_view name) {
  for (Kind k : {Kind::constant, Kind::linear, Kind::cosine})
    if (name == name_of(k)) return k;
  raise_error(fmt::format("unknown schedule '{}': expected constant, linear or cosine", name));
}

std::string_view Schedule::name_of(Kind k) {
  switch (k) {
    case Kind::constant:
      return "constant";
    case Kind::linear:
      return "linear";
    case Kind::cosine:
      return "cosine";
  }
  return "?";
}

}  // namespace reckon::models
