#include "cli/devices.h"

#include <fmt/ranges.h>

#include "cli/commands.h"
#include "runtime/core/error.h"
#include "runtime/core/format.h"
#include "runtime/cpu/isa.h"
#include "runtime/cuda_plugin.h"

namespace reckon::cli {
namespace {

std::string rates(const DeviceSpec& s) {
  std::string text;
  for (const auto& [type, rate] : s.peak_flops)
    text += fmt::format("{}{} {}FLOP/s", text.empty() ? "" : ", ", name_of(type), format_scaled(rate));
  if (s.bytes_per_second > 0)
    text += fmt::format("{}{}B/s", text.empty() ? "" : ", ", format_scaled(s.bytes_per_second));
  return text;
}

void print_row(const std::string& name, const std::string& what) { fmt::print("  {:<6} {}\n", name, what); }

std::string describe(const DeviceSpec& s) {
  return fmt::format("{}: {}, compute capability {}.{}, {} multiprocessors{}{}", s.name,
                     format_bytes(static_cast<double>(s.memory_bytes)), s.compute_capability / 10,
                     s.compute_capability % 10, s.multiprocessors, s.peak_flops.empty() ? "" : "; ", rates(s));
}

void run() {
  const DeviceSpec cpu = DeviceSpec::this_machine();
  fmt::print("devices (--device)\n");
  print_row("cpu", fmt::format("{} threads, {}, {}", cpu.threads, name_of(static_cast<IsaLevel>(cpu.isa_level)),
                               format_bytes(static_cast<double>(cpu.memory_bytes))));
  const CudaResult cuda = open_cuda();
  print_row("cuda", cuda.backend ? describe(cuda.backend->spec()) : "not available: " + cuda.why);
  print_row("meta", "the same code without data, event for event");
  fmt::print("\nhardware that meta can imitate (--spec)\n");
  for (const std::string& name : DeviceSpec::names_of_shipped())
    print_row(name, describe(DeviceSpec::named_or_file(name)));
  fmt::print("\nor a JSON file of that form; rates are only used for estimates\n");
}

}  // namespace

std::unique_ptr<Device> open_device(DeviceKind kind, DeviceSpec spec, DeviceOptions options,
                                    std::unique_ptr<Backend> opened) {
  if (kind != DeviceKind::cuda) return std::make_unique<Device>(kind, std::move(spec), options);
  CudaResult cuda;
  if (opened)
    cuda.backend = std::move(opened);
  else
    cuda = open_cuda();
  RECKON_CHECK(cuda.backend, "device cuda is not available: {}", cuda.why);
  DeviceSpec live = cuda.backend->spec();
  return std::make_unique<Device>(kind, std::move(live), options, std::move(cuda.backend));
}

std::unique_ptr<Backend> fall_back_to_cpu(DeviceKind& device, bool trace) {
  if (device != DeviceKind::cuda) return nullptr;
  CudaResult cuda = open_cuda(0, trace);
  if (cuda.backend) return std::move(cuda.backend);
  fmt::print(stderr, "device cuda is not available: {}; going on with the cpu\n", cuda.why);
  device = DeviceKind::cpu;
  return nullptr;
}

DeviceSpec spec_from_flags(const std::string& spec, DeviceKind device) {
  if (spec.empty()) return DeviceSpec::this_machine();
  RECKON_CHECK(device == DeviceKind::meta,
               "--spec describes hardware to imitate and needs --device meta, got --device {}",
               name_of(device));
  return DeviceSpec::named_or_file(spec);
}

std::string hardware_of(const DeviceSpec& s) {
  if (s.kind == DeviceKind::cuda)
    return fmt::format("{}, compute capability {}.{}, {} multiprocessors", s.name, s.compute_capability / 10,
                       s.compute_capability % 10, s.multiprocessors);
  return fmt::format("{}, {} thread{}", name_of(static_cast<IsaLevel>(s.isa_level)), s.threads,
                     s.threads == 1 ? "" : "s");
}

std::string spec_help() {
  return fmt::format(
      "meta only: the hardware to imitate: {}, or a JSON file (kind, threads, granularity, segments, peak "
      "FLOP/s)",
      fmt::join(DeviceSpec::names_of_shipped(), ", "));
}

void add_devices(CLI::App& app) {
  app.add_subcommand("devices", "What this machine can run on, and the hardware that a dry run can imitate")
      ->callback(run);
}

}  // namespace reckon::cli
