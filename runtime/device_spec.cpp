#include "runtime/device_spec.h"

#include <unistd.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "runtime/core/error.h"
#include "runtime/core/json_excerpt.h"
#include "runtime/cpu/isa.h"
#include "runtime/cpu/threads.h"
#include "runtime/shipped_specs.h"

namespace reckon {
namespace {

using Json = nlohmann::json;

// Whole numbers may be written as 4e10, as long as they are exact.
template <class T>
T field(const Json& j, const std::string& file, const char* name, T fallback) {
  if (!j.contains(name)) return fallback;
  const Json& v = j.at(name);
  if constexpr (std::is_same_v<T, std::string>) {
    RECKON_CHECK(v.is_string(), "{}: field '{}' must be a text, got {}", file, name, excerpt(v));
    return v.get<std::string>();
  } else if constexpr (std::is_same_v<T, double>) {
    RECKON_CHECK(v.is_number() && v.get<double>() >= 0,
                 "{}: field '{}' must be a number that is not negative, got {}", file, name, excerpt(v));
    return v.get<double>();
  } else {
    constexpr double most = sizeof(T) == sizeof(int) ? 0x1p31 - 1 : 0x1p53;
    const double number = v.is_number() ? v.get<double>() : -1;
    RECKON_CHECK(number >= 0 && number <= most && number == std::floor(number),
                 "{}: field '{}' must be a whole number from 0 to {:.0f}, got {}", file, name, most,
                 excerpt(v));
    return static_cast<T>(number);
  }
}

}  // namespace

std::string_view name_of(DeviceKind k) {
  switch (k) {
    case DeviceKind::cpu:
      return "cpu";
    case DeviceKind::meta:
      return "meta";
    case DeviceKind::cuda:
      return "cuda";
  }
  return "?";
}

DeviceKind device_kind_from_name(std::string_view name) {
  if (name == "cpu") return DeviceKind::cpu;
  if (name == "meta") return DeviceKind::meta;
  if (name == "cuda") return DeviceKind::cuda;
  raise_error(fmt::format("unknown device '{}': expected cpu, cuda or meta", name));
}

DeviceSpec DeviceSpec::this_machine() {
  DeviceSpec spec;
  spec.threads = cpu_threads();
  spec.isa_level = static_cast<int>(cpu_isa_level());
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  spec.memory_bytes = pages > 0 && page > 0 ? static_cast<size_t>(pages) * static_cast<size_t>(page) : 0;
  return spec;
}

std::vector<std::string> DeviceSpec::names_of_shipped() {
  std::vector<std::string> names;
  for (const ShippedSpec& s : shipped_specs()) names.emplace_back(s.name);
  return names;
}

DeviceSpec DeviceSpec::named_or_file(const std::string& text) {
  for (const ShippedSpec& s : shipped_specs())
    if (text == s.name) return from_json_text(std::string(s.json), text);
  std::ifstream in(text);
  RECKON_CHECK(in.good(),
               "no hardware spec is called '{}' and no such file can be read: expected {} or a JSON file", text,
               fmt::join(names_of_shipped(), ", "));
  return from_json_file(text);
}

DeviceSpec DeviceSpec::from_json_file(const std::string& path) {
  std::ifstream in(path);
  RECKON_CHECK(in.good(), "cannot read the hardware spec '{}'", path);
  std::stringstream text;
  text << in.rdbuf();
  return from_json_text(text.str(), path);
}

DeviceSpec DeviceSpec::from_json_text(const std::string& text, const std::string& path) {
  Json j;
  try {
    j = Json::parse(text);
  } catch (const Json::exception& e) {
    raise_error(fmt::format("{} is not JSON: {}", path, e.what()));
  }
  RECKON_CHECK(j.is_object(), "{}: expected a JSON object with the fields of a hardware spec", path);
  static const std::set<std::string> known{"name",
                                           "kind",
                                           "threads",
                                           "isa_level",
                                           "compute_capability",
                                           "multiprocessors",
                                           "shared_bytes_per_block",
                                           "library_workspace_bytes",
                                           "granularity",
                                           "small_limit",
                                           "small_segment",
                                           "large_segment",
                                           "segment_round",
                                           "memory_bytes",
                                           "bytes_per_second",
                                           "peak_flops",
                                           "peak_source"};
  for (const auto& [key, value] : j.items())
    RECKON_CHECK(known.count(key), "{}: unknown field '{}'; known fields: {}", path, key,
                 fmt::join(known, ", "));

  const auto kind = field<std::string>(j, path, "kind", "cpu");
  RECKON_CHECK(kind == "cpu" || kind == "cuda", "{}: kind '{}' cannot be imitated: expected cpu or cuda", path,
               kind);
  DeviceSpec spec = kind == "cuda" ? gpu() : this_machine();
  spec.name = field<std::string>(j, path, "name", path);
  if (kind == "cuda") {
    for (const char* name : {"compute_capability", "multiprocessors", "shared_bytes_per_block"})
      RECKON_CHECK(j.contains(name), "{}: a spec of kind cuda needs the field '{}'", path, name);
    spec.compute_capability = field<int>(j, path, "compute_capability", 0);
    spec.multiprocessors = field<int>(j, path, "multiprocessors", 0);
    spec.shared_bytes_per_block = field<size_t>(j, path, "shared_bytes_per_block", 0);
    spec.library_workspace_bytes =
        field<size_t>(j, path, "library_workspace_bytes", spec.library_workspace_bytes);
    RECKON_CHECK(
        spec.compute_capability >= 80 && spec.multiprocessors >= 1 && spec.shared_bytes_per_block >= 48 * 1024,
        "{}: expected compute_capability >= 80 (bf16 tensor cores), multiprocessors >= 1 and "
        "shared_bytes_per_block >= 49152, got {}, {} and {}",
        path, spec.compute_capability, spec.multiprocessors, spec.shared_bytes_per_block);
  }
  spec.threads = field<int>(j, path, "threads", spec.threads);
  spec.isa_level = field<int>(j, path, "isa_level", spec.isa_level);
  RECKON_CHECK(spec.threads >= 1 && spec.threads <= 4096, "{}: threads must be 1 to 4096, got {}", path,
               spec.threads);
  RECKON_CHECK(spec.isa_level <= 3, "{}: isa_level must be 0 to 3, got {}", path, spec.isa_level);
  ArenaPolicy& m = spec.memory;
  m.granularity = field<size_t>(j, path, "granularity", m.granularity);
  m.small_limit = field<size_t>(j, path, "small_limit", m.small_limit);
  m.small_segment = field<size_t>(j, path, "small_segment", m.small_segment);
  m.large_segment = field<size_t>(j, path, "large_segment", m.large_segment);
  m.segment_round = field<size_t>(j, path, "segment_round", m.segment_round);
  RECKON_CHECK(m.granularity >= 1 && m.segment_round >= 1 && m.small_segment >= m.small_limit + m.granularity,
               "{}: granularity and segment_round must be at least 1 and small_segment above small_limit",
               path);
  spec.memory_bytes = field<size_t>(j, path, "memory_bytes", 0);
  spec.bytes_per_second = field<double>(j, path, "bytes_per_second", 0);
  spec.peak_source = field<std::string>(j, path, "peak_source", path);
  if (j.contains("peak_flops")) {
    RECKON_CHECK(j["peak_flops"].is_object(), "{}: peak_flops must map dtypes to FLOP per second", path);
    for (const auto& [type, value] : j["peak_flops"].items()) {
      RECKON_CHECK(value.is_number() && value.get<double>() > 0, "{}: peak_flops.{} must be a positive number",
                   path, type);
      spec.peak_flops[dtype_from_name(type)] = value.get<double>();
    }
  }
  return spec;
}

std::string DeviceSpec::to_json() const {
  Json peaks = Json::object();
  for (const auto& [type, rate] : peak_flops) peaks[std::string(name_of(type))] = rate;
  return Json{{"name", name},
              {"kind", std::string(name_of(kind))},
              {"threads", threads},
              {"isa_level", isa_level},
              {"compute_capability", compute_capability},
              {"multiprocessors", multiprocessors},
              {"shared_bytes_per_block", shared_bytes_per_block},
              {"library_workspace_bytes", library_workspace_bytes},
              {"granularity", memory.granularity},
              {"small_limit", memory.small_limit},
              {"small_segment", memory.small_segment},
              {"large_segment", memory.large_segment},
              {"segment_round", memory.segment_round},
              {"memory_bytes", memory_bytes},
              {"bytes_per_second", bytes_per_second},
              {"peak_flops", peaks},
              {"peak_source", peak_source}}
      .dump(2);
}

}  // namespace reckon
