// All that a plan may know of hardware. Read from the running machine, or from a JSON file so that a
// dry run can imitate another one.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "runtime/core/dtype.h"
#include "runtime/memory/arena.h"

namespace reckon {

enum class DeviceKind : uint8_t { cpu, meta, cuda };
std::string_view name_of(DeviceKind k);
DeviceKind device_kind_from_name(std::string_view name);  // Error lists what this build has

struct DeviceSpec {
  std::string name = "cpu";
  DeviceKind kind = DeviceKind::cpu;  // what the plans are made for; on a meta device: what it imitates
  int threads = 1;
  int isa_level = 0;                  // 0 x86-64, 1 x86-64-v3, 2 x86-64-v4, 3 with AMX bf16 tiles
  int compute_capability = 0;         // GPU: 10 x major + minor, 90 on Hopper
  int multiprocessors = 0;            // GPU
  size_t shared_bytes_per_block = 0;  // GPU: the most a kernel may ask for
  // GPU: what a matrix product or convolution library may use, owned by the arena.
  size_t library_workspace_bytes = 0;
  ArenaPolicy memory{};
  size_t memory_bytes = 0;             // physical memory, 0 when unknown
  double bytes_per_second = 0;         // copy bandwidth, 0 when unknown
  std::map<DType, double> peak_flops;  // per second, by operand type of a matrix product; empty when unknown
  std::string peak_source;             // where those two figures come from

  static DeviceSpec this_machine();  // threads and memory of this machine
  static DeviceSpec gpu() {          // what all GPUs share: segment sizes, library workspace
    DeviceSpec spec;
    spec.kind = DeviceKind::cuda;
    spec.name = "cuda";
    spec.memory.granularity = 512;
    spec.library_workspace_bytes = size_t{32} << 20;
    return spec;
  }
  // A shipped spec by its name (see names_of_shipped), else a JSON file. Error lists the names.
  static DeviceSpec named_or_file(const std::string& text);
  static std::vector<std::string> names_of_shipped();
  // Error names the field, what was expected and what came.
  static DeviceSpec from_json_file(const std::string& path);
  // `name` stands for the file in messages.
  static DeviceSpec from_json_text(const std::string& text, const std::string& name);
  std::string to_json() const;
};

}  // namespace reckon
