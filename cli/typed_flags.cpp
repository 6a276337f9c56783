#include "cli/typed_flags.h"

#include <algorithm>
#include <cctype>

#include "calculators/quantity.h"
#include "runtime/core/error.h"

namespace reckon::cli {
namespace {

void check_choice(const std::string& flag, const std::string& text, std::vector<std::string> choices) {
  if (std::find(choices.begin(), choices.end(), text) != choices.end()) return;
  const std::string last = choices.back();
  choices.pop_back();
  raise_error(fmt::format("{} must be {} or {}, got '{}'", flag, fmt::join(choices, ", "), last, text));
}

size_t parse_limit(const std::string& text) {
  const auto bytes = [](const std::string& size) {
    return static_cast<size_t>(
        calculators::parse_written_bytes(size, "--memory-limit").bytes.to_int64("--memory-limit"));
  };
  // Zero, in any unit, is no limit; elsewhere a size is at least one byte.
  const size_t unit = std::min(text.find_first_not_of("0."), text.size());
  const bool zero =
      text.starts_with('0') && (unit == text.size() || !std::isdigit(static_cast<unsigned char>(text[unit])));
  return zero ? 0 * bytes("1" + text.substr(unit)) : bytes(text);
}

}  // namespace

CLI::Option* add_choice(CLI::App& app, const std::string& flag, std::string& value,
                        const std::vector<std::string>& choices, const std::string& help) {
  const auto parse = [flag, choices](const std::string& text) {
    check_choice(flag, text, choices);
    return text;
  };
  return add_parsed(app, flag, value, parse, value, help);
}

CLI::Option* add_dtype(CLI::App& app, const std::string& flag, DType& value, const std::string& help,
                       const std::vector<std::string>& allowed) {
  const auto parse = [flag, allowed](const std::string& text) {
    if (!allowed.empty()) check_choice(flag, text, allowed);
    return dtype_from_name(text);
  };
  return add_parsed(app, flag, value, parse, name_of(value), help);
}

CLI::Option* add_residual(CLI::App& app, bool& low, const std::string& help) {
  const auto parse = [](const std::string& text) {
    RECKON_CHECK(text == "f32" || text == "low",
                 "--residual must be f32 or low (the type of --dtype), got '{}'", text);
    return text == "low";
  };
  return add_parsed(app, "--residual", low, parse, low ? "low" : "f32", help);
}

CLI::Option* add_device(CLI::App& app, DeviceKind& value, const std::string& help) {
  return add_parsed(app, "--device", value, device_kind_from_name, name_of(value), help);
}

CLI::Option* add_checkpoint(CLI::App& app, autograd::CheckpointPolicy& value, const std::string& help) {
  return add_parsed(app, "--checkpoint", value, autograd::checkpoint_policy_from_name, name_of(value), help);
}

CLI::Option* add_fuse(CLI::App& app, autograd::FusionSet& value) {
  return add_parsed(app, "--fuse", value, autograd::FusionSet::parse, value.to_string(),
                    "none, all, or a list of: " + autograd::FusionSet::names());
}

CLI::Option* add_memory_limit(CLI::App& app, size_t& value) {
  return add_parsed(app, "--memory-limit", value, parse_limit, std::to_string(value),
                    "Bytes the arena may reserve, such as 512MiB; 0: no limit");
}

}  // namespace reckon::cli
