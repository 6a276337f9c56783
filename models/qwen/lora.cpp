#include "models/qwen/lora.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "runtime/core/error.h"

namespace reckon::models {
namespace {

constexpr std::string_view kTargets[] = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                         "gate_proj", "up_proj", "down_proj"};

template <class T>
T number(std::string_view key, std::string_view value) {
  T out{};
  const auto [end, ec] = std::from_chars(value.data(), value.data() + value.size(), out);
  RECKON_CHECK(ec == std::errc() && end == value.data() + value.size(), "LoRA: {} must be a number, got '{}'",
               key, value);
  return out;
}

}  // namespace

LoraOptions LoraOptions::parse(std::string_view text) {
  LoraOptions o;
  bool in_targets = false;
  size_t at = 0;
  while (at <= text.size()) {
    const size_t end = std::min(text.find(',', at), text.size());
    std::string_view item = text.substr(at, end - at);
    at = end + 1;
    const size_t equals = item.find('=');
    const std::string_view key = equals == std::string_view::npos ? std::string_view{} : item.substr(0, equals);
    const std::string_view value = equals == std::string_view::npos ? item : item.substr(equals + 1);
    if (key == "r") {
      o.rank = number<int64_t>(key, value);
    } else if (key == "alpha") {
      o.alpha = number<double>(key, value);
    } else if (key == "targets" || (key.empty() && in_targets)) {
      if (key == "targets") o.targets.clear();
      RECKON_CHECK(std::find(std::begin(kTargets), std::end(kTargets), value) != std::end(kTargets),
                   "LoRA: unknown target '{}': expected {}", value, fmt::join(kTargets, ", "));
      RECKON_CHECK(std::find(o.targets.begin(), o.targets.end(), value) == o.targets.end(),
                   "LoRA: target '{}' is named twice", value);
      o.targets.emplace_back(value);
    } else {
      raise_error(
          fmt::format("LoRA: '{}' is not understood: expected r=8,alpha=16,targets=q_proj,v_proj", item));
    }
    in_targets = key == "targets" || (key.empty() && in_targets);
  }
  RECKON_CHECK(o.rank >= 1 && o.rank <= 1 << 20, "LoRA: the rank r must be between 1 and 2^20, got {}", o.rank);
  RECKON_CHECK(std::isfinite(o.alpha) && o.alpha > 0, "LoRA: alpha must be positive, got {}", o.alpha);
  return o;
}

std::string LoraOptions::to_string() const {
  return fmt::format("r={},alpha={},targets={}", rank, alpha, fmt::join(targets, ","));
}

}  // namespace reckon::models
