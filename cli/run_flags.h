// What every command that runs a model is asked: the run and the machine it is for. The flags write straight
// into it; those of one family take effect once the family is known.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/train/options.h"
#include "profiler/books.h"
#include "runtime/device.h"

namespace reckon::cli {

// Hardware: the flags of every command that opens a device.
struct MachineFlags {
  std::string spec;      // --spec
  DeviceOptions limits;  // --memory-limit, --check-nan
  int threads = 0;

  // What a device of this kind is made of: this machine, or on meta the hardware of --spec.
  DeviceSpec device_spec(DeviceKind kind) const;
  std::unique_ptr<Device> make_device(DeviceKind kind, std::unique_ptr<Backend> opened = nullptr) const;
};

struct RunFlags {
  models::RunOptions options;  // as given; resolved() fills in the rest
  MachineFlags machine;
  std::vector<std::pair<std::string, std::string>> family_settings;  // flag and text, as given

  // `default_steps` is used when --steps was not given.
  models::RunOptions resolved(int64_t default_steps) const;
};

// Adds MODEL and the flags. `with_data`: --data and what belongs to it.
void add_run_flags(CLI::App& app, RunFlags& flags, bool with_data);
void add_spec_and_threads(CLI::App& app, MachineFlags& machine, const char* group);

profiler::RunConfig run_config(const models::RunOptions& options, const DeviceSpec& spec);

}  // namespace reckon::cli
