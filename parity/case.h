// One golden case: a safetensors file of somebody's numbers, the tensors uploaded from it, and what was
// compared with it. Every tensor of the file must end as an input, a comparison, or ignored with a reason;
// anything else is a problem. Called by the runners of this room.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "autograd/fusion.h"
#include "autograd/grad_mode.h"
#include "models/data/safetensors.h"
#include "runtime/device.h"
#include "runtime/tensor.h"

namespace reckon::parity {

using Json = nlohmann::json;

struct Settings {
  DType dtype = DType::f64;
  DeviceKind device = DeviceKind::cpu;
  autograd::CheckpointPolicy checkpoint = autograd::CheckpointPolicy::none;
  autograd::FusionSet fuse;
  // Opens the device of each case; null: cpu or meta of this machine.
  std::function<std::unique_ptr<Device>()> open_device;
};

// How far two tensors are apart.
enum class Measure : uint8_t {
  largest,      // max |a - b| / max |b|
  elementwise,  // max of |a - b| / (|b| + max |b|)
  rms,          // root mean square of a - b over that of b
  absolute,     // max |a - b|
  exact,        // number of elements that differ
};
double distance(Measure measure, const std::vector<double>& got, const std::vector<double>& expected);

struct Tolerance {
  Measure measure = Measure::largest;
  double value = 0;
};

struct Check {
  std::string tensor;
  double error = 0;
  double tolerance = 0;
  bool passed() const { return error <= tolerance; }  // a NaN fails
};

struct Report {
  std::string file;
  std::string kind;  // what was built: an op, a class, a model
  std::vector<Check> checks;
  std::vector<std::pair<std::string, std::string>> ignored;  // tensor, reason
  std::vector<std::string> problems;
  std::string not_a_case;  // reason why the file holds nothing to compare

  void check(std::string tensor, double error, double tolerance) {
    checks.push_back({std::move(tensor), error, tolerance});
  }
  bool passed() const;
  const Check* worst() const;  // the largest error over its tolerance
};

class Case {
 public:
  Case(const std::filesystem::path& path, const Settings& settings, Device& device, Report& report);

  const Settings& settings() const { return settings_; }
  Device& device() const { return device_; }
  Report& report() { return report_; }
  bool executes() const;  // false on meta, where nothing is compared

  // Metadata: text, or JSON inside the text (an empty object when absent).
  bool has_meta(const std::string& key) const;
  std::string meta(const std::string& key) const;
  Json meta_json(const std::string& key) const;

  bool has(const std::string& tensor) const { return file_.contains(tensor); }
  const std::vector<std::string>& names() const { return file_.names(); }
  std::vector<std::string> names_under(const std::string& prefix) const;  // without the prefix
  Shape shape(const std::string& tensor) const;
  bool floating(const std::string& tensor) const;
  std::vector<double> values(const std::string& tensor) const;  // as doubles, without counting as used

  // Uploads: floats as `dtype`, integers as i64, booleans as u8. `category` says what the books call it.
  Tensor upload(const std::string& tensor, DType dtype, Category category = Category::input);
  Tensor parameter(const std::string& tensor, DType dtype);  // requires a gradient
  Tensor upload_values(const std::vector<double>& values, const Shape& shape, DType dtype,
                       std::string_view label) const;

  void use(const std::string& tensor) { used_.insert(tensor); }
  void ignore(const std::string& tensor, const std::string& reason);
  void ignore_under(const std::string& prefix, const std::string& reason);
  // Compares with a tensor of the file; `where` (one entry per leading position, 0 or 1) restricts it.
  void compare(const std::string& tensor, const Tensor& got, Tolerance tolerance,
               const std::vector<double>& where = {});
  void compare_values(const std::string& tensor, const std::vector<double>& got, Tolerance tolerance);
  void problem(std::string what) { report_.problems.push_back(std::move(what)); }
  // Complains about tensors nobody looked at.
  void finish();

 private:
  data::SafetensorsFile file_;
  Settings settings_;
  Device& device_;
  Report& report_;
  std::set<std::string> used_;
};

std::vector<double> to_doubles(const Tensor& t);

// Backward from every output that has a cotangent; `seeds` are cast to the outputs' types.
void backward_from(const TensorList& outputs, const TensorList& seeds);

}  // namespace reckon::parity
