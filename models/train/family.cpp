#include "models/train/family.h"

#include <algorithm>
#include <charconv>

#include "autograd/engine.h"
#include "models/block_weights.h"
#include "runtime/core/error.h"
#include "runtime/core/nearest_name.h"
#include "runtime/device.h"

namespace reckon::models {

std::string FamilySetting::name() const {
  std::string n = flag.substr(2);
  if (takes == Takes::nothing && n.starts_with("no-")) n.erase(0, 3);
  std::replace(n.begin(), n.end(), '-', '_');
  return n;
}

void read_setting(const std::string& flag, const std::string& text, int64_t& value) {
  const char* end = text.data() + text.size();
  const auto [stop, ec] = std::from_chars(text.data(), end, value);
  RECKON_CHECK(ec == std::errc() && stop == end, "{} must be a whole number, got '{}'", flag, text);
}
void read_setting(const std::string&, const std::string& text, std::string& value) { value = text; }
void read_setting(const std::string&, const std::string& text, DType& value) { value = dtype_from_name(text); }
std::string shown_setting(int64_t value) { return std::to_string(value); }
std::string shown_setting(const std::string& value) { return value; }
std::string shown_setting(DType value) { return std::string(name_of(value)); }

std::string families_that(const std::function<bool(const Family&)>& has, std::string_view last) {
  std::vector<std::string_view> names;
  for (const Family* f : all_families())
    if (has(*f)) names.push_back(f->name);
  if (names.size() < 2) return names.empty() ? "no family" : std::string(names[0]);
  const std::string_view end = names.back();
  names.pop_back();
  return fmt::format("{}{}{}", fmt::join(names, ", "), last, end);
}

const Family& family_named(std::string_view name) {
  for (const Family* f : all_families())
    if (f->name == name) return *f;
  std::vector<std::string> names;
  for (const Family* f : all_families()) names.emplace_back(f->name);
  raise_error(fmt::format("unknown model '{}': expected {}.{}", name,
                          families_that([](const Family&) { return true; }), did_you_mean(name, names)));
}

bool has_command(const Family& f, std::string_view command) {
  return std::find(f.commands.begin(), f.commands.end(), command) != f.commands.end();
}

void check_command(const Family& family, std::string_view command) {
  RECKON_CHECK(has_command(family, command), "`reckon {}` is not for {}: expected {}", command, family.name,
               families_that([&](const Family& f) { return has_command(f, command); }));
}

ParameterFormula parameters_by_formula(const RunOptions& o) {
  const auto formula = family_named(o.family).parameters;
  return formula ? formula(o) : ParameterFormula{};
}

void TrainTask::backward(const Tensor& loss) { autograd::backward(loss); }

void TrainTask::export_folder(const std::filesystem::path&, DType) const {
  raise_error("--export writes a Hugging Face folder, which this model has no form for: use --out");
}

std::unique_ptr<TrainTask> make_task(const RunOptions& o, Device& device, bool with_data, int64_t first_batch) {
  auto task = family_named(o.family).make_task(o, device, with_data, first_batch);
  if (o.weights.empty()) return task;
  const LoadedBlocks read = load_block_weights({o.weights, o.weights_prefix}, task->parameters());
  task->loaded = fmt::format(
      "blocks {} from {}: {} tensors of '{}', names of {}; the parameters around them start at random",
      device.executes() ? "read" : "checked", o.weights, read.n_tensors, read.prefix, read.code);
  return task;
}

}  // namespace reckon::models
