// Flags that are written straight into a typed field: the text is parsed while the command line is read, and
// what cannot be parsed is the parser's own Error. Used by every command.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "autograd/fusion.h"
#include "autograd/grad_mode.h"
#include "runtime/core/dtype.h"
#include "runtime/device_spec.h"

namespace reckon::cli {

// `parse` turns a std::string into a T; `initial` is shown as the default, empty: none is.
template <class T, class Parse>
CLI::Option* add_parsed(CLI::App& app, const std::string& flag, T& value, Parse parse, std::string_view initial,
                        const std::string& help) {
  CLI::Option* o = app.add_option_function<std::string>(
      flag, [&value, parse](const std::string& text) { value = parse(text); }, help);
  return o->default_str(std::string(initial));
}

// A text out of a few, such as --report full; Error lists them.
CLI::Option* add_choice(CLI::App& app, const std::string& flag, std::string& value,
                        const std::vector<std::string>& choices, const std::string& help);
// `allowed`: the names of the types that make sense here; empty: all that there are.
CLI::Option* add_dtype(CLI::App& app, const std::string& flag, DType& value, const std::string& help,
                       const std::vector<std::string>& allowed = {});
CLI::Option* add_residual(CLI::App& app, bool& low, const std::string& help);
CLI::Option* add_device(CLI::App& app, DeviceKind& value, const std::string& help);
CLI::Option* add_checkpoint(CLI::App& app, autograd::CheckpointPolicy& value, const std::string& help);
CLI::Option* add_fuse(CLI::App& app, autograd::FusionSet& value);
// Bytes as calculators/quantity.h reads them; 0: no limit.
CLI::Option* add_memory_limit(CLI::App& app, size_t& value);

}  // namespace reckon::cli
