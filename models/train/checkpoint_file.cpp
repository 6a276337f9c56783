#include "models/train/checkpoint_file.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <map>
#include <sstream>

#include "models/data/safetensors.h"

namespace reckon::models {
namespace {

// Identifies the frozen weights under adapters without storing them: names, shapes
// and up to 64 elements of each.
std::string base_fingerprint(const ParameterSet& parameters) {
  uint64_t hash = data::kFnvStart;
  for (const NamedParameter& p : parameters.all()) {
    if (p.tensor.requires_grad()) continue;
    hash = data::fnv1a(p.name + reckon::describe(p.tensor), hash);
    const size_t size = size_of(p.tensor.dtype()), n = p.tensor.bytes() / size,
                 stride = std::max<size_t>(1, n / 64);
    std::vector<std::byte> copy;
    const std::span<const std::byte> host = p.tensor.host_bytes(copy);
    for (size_t i = 0; i < n; i += stride)
      hash = data::fnv1a(std::string_view(reinterpret_cast<const char*>(host.data()) + i * size, size), hash);
  }
  return fmt::format("{:016x}", hash);
}

bool has_frozen(const ParameterSet& parameters) {
  return std::any_of(parameters.all().begin(), parameters.all().end(),
                     [](const NamedParameter& p) { return !p.tensor.requires_grad(); });
}

std::vector<int64_t> shape_of(const Tensor& t) { return {t.shape().begin(), t.shape().end()}; }

void fill_from(const data::SafetensorsFile& file, const std::string& name, const Tensor& t) {
  RECKON_CHECK(file.contains(name), "{} has no tensor '{}', which this run needs", file.file_name(), name);
  const data::TensorView& v = file.tensor(name);
  RECKON_CHECK(v.shape == shape_of(t) && data::runtime_type(v.dtype) == t.dtype(),
               "{}: tensor '{}' is {} [{}], this run needs {}", file.file_name(), name, data::name_of(v.dtype),
               fmt::join(v.shape, ", "), reckon::describe(t));
  t.copy_from_host(v.bytes.data(), v.bytes.size());
}

int64_t parse_count(const std::string& text, const data::SafetensorsFile& file, const char* what) {
  int64_t n = -1;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), n);
  RECKON_CHECK(ec == std::errc() && end == text.data() + text.size() && n >= 0,
               "{}: {} is '{}', expected a count", file.file_name(), what, text);
  return n;
}

// How many updates each trained parameter had. A file without a list, as of before they were counted, had one in
// each step.
std::vector<int64_t> parse_updates(const data::SafetensorsFile& file, int64_t steps, size_t n) {
  const auto it = file.metadata().find("updates");
  if (it == file.metadata().end()) return std::vector<int64_t>(n, steps);
  std::vector<int64_t> counts;
  std::istringstream words(it->second);
  for (std::string word; words >> word;) counts.push_back(parse_count(word, file, "a number of updates"));
  RECKON_CHECK(counts.size() == n, "{} counts the updates of {} parameters, this run trains {}",
               file.file_name(), counts.size(), n);
  return counts;
}

int64_t parse_steps(const data::SafetensorsFile& file) {
  const auto it = file.metadata().find("steps_done");
  RECKON_CHECK(it != file.metadata().end() && file.metadata().count("format") &&
                   file.metadata().at("format") == "reckon training state 1",
               "{} is not a training state of reckon (a safetensors file without its marks)", file.file_name());
  return parse_count(it->second, file, "steps_done");
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path, const RunOptions& options,
                     const ParameterSet& parameters, Optimizer& optimizer, int64_t steps_done) {
  data::SafetensorsWriter writer;
  writer.set_metadata("format", "reckon training state 1");
  writer.set_metadata("steps_done", std::to_string(steps_done));
  for (const SettingLine& line : options.describe())
    if (line.binding) writer.set_metadata("run." + line.name, line.value);
  const auto add = [&](const std::string& name, const Tensor& t) {
    writer.add(name, data::stored_type(t.dtype()), shape_of(t),
               [t, copy = std::vector<std::byte>()](uint64_t offset, std::span<std::byte> out) mutable {
                 const std::span<const std::byte> bytes =
                     offset > 0 && !copy.empty() ? std::span<const std::byte>(copy) : t.host_bytes(copy);
                 std::memcpy(out.data(), bytes.data() + offset, out.size());
                 if (offset + out.size() == bytes.size()) copy = {};
               });
  };
  if (has_frozen(parameters)) writer.set_metadata("base", base_fingerprint(parameters));
  for (const NamedParameter& p : parameters.all())
    if (p.tensor.requires_grad()) add(p.name, p.tensor);
  for (const NamedParameter& s : optimizer.state()) add("optimizer." + s.name, s.tensor);
  const std::vector<int64_t> updates = optimizer.updates();
  if (std::any_of(updates.begin(), updates.end(), [&](int64_t n) { return n != steps_done; }))
    writer.set_metadata("updates", fmt::format("{}", fmt::join(updates, " ")));
  writer.write(path);
}

int64_t steps_in_checkpoint(const std::filesystem::path& path) {
  return parse_steps(data::SafetensorsFile::open(path));
}

int64_t load_checkpoint(const std::filesystem::path& path, const RunOptions& options,
                        const ParameterSet& parameters, Optimizer& optimizer) {
  const data::SafetensorsFile file = data::SafetensorsFile::open(path);
  const int64_t steps = parse_steps(file);
  std::map<std::string, std::string> asked;
  for (const SettingLine& line : options.describe())
    if (line.binding) asked["run." + line.name] = line.value;
  std::map<std::string, std::string> saved;
  for (const auto& [key, value] : file.metadata())
    if (key.starts_with("run.")) saved[key] = value;
  // Either may have a setting that the other has not: only runs with adapters say so.
  std::map<std::string, std::string> all = asked;
  all.insert(saved.begin(), saved.end());
  const auto check_same = [&](const std::string& key) {
    const auto in = [&key](const std::map<std::string, std::string>& m) {
      const auto it = m.find(key);
      return it == m.end() ? std::string("(nothing)") : it->second;
    };
    RECKON_CHECK(in(saved) == in(asked),
                 "{} was saved with {} = {}, this run has {}: resuming would not continue it", path.string(),
                 key.substr(std::strlen("run.")), in(saved), in(asked));
  };
  check_same("run.model");  // the likeliest mistake, and the cause of the others
  for (const auto& [key, value] : all) check_same(key);
  if (has_frozen(parameters)) {
    const auto base = file.metadata().find("base");
    RECKON_CHECK(base != file.metadata().end() && base->second == base_fingerprint(parameters),
                 "{}: its adapters were trained beside other weights than this run's", path.string());
  }
  for (const NamedParameter& p : parameters.all())
    if (p.tensor.requires_grad()) fill_from(file, p.name, p.tensor);
  for (const NamedParameter& s : optimizer.state()) fill_from(file, "optimizer." + s.name, s.tensor);
  const auto trained = std::count_if(parameters.all().begin(), parameters.all().end(),
                                     [](const NamedParameter& p) { return p.tensor.requires_grad(); });
  optimizer.set_updates(parse_updates(file, steps, static_cast<size_t>(trained)));
  return steps;
}

}  // namespace reckon::models
