#include "parity/case.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "autograd/engine.h"
#include "autograd/node.h"
#include "ops/cast/cast.h"
#include "runtime/core/element.h"
#include "runtime/device.h"

namespace reckon::parity {
namespace {

using data::StoredType;

double element(const data::TensorView& view, size_t i) {
  const std::byte* p = view.bytes.data() + i * data::size_of(view.dtype);
  const auto as = [p](auto value) {
    std::memcpy(&value, p, sizeof(value));
    return value;
  };
  switch (view.dtype) {
    case StoredType::F64:
      return as(0.0);
    case StoredType::F32:
      return as(0.0f);
    case StoredType::BF16:
      return bf16_to_f32(as(uint16_t{0}));
    case StoredType::F16:
      return f16_to_f32(as(uint16_t{0}));
    case StoredType::I64:
      return static_cast<double>(as(int64_t{0}));
    case StoredType::BOOL:
    case StoredType::U8:
      return as(uint8_t{0});
    default:
      raise_error(fmt::format("golden cases hold no tensors of type {}", data::name_of(view.dtype)));
  }
}

}  // namespace

double distance(Measure measure, const std::vector<double>& got, const std::vector<double>& expected) {
  if (got.size() != expected.size()) return INFINITY;
  double largest = 0;
  for (double v : expected)
    if (std::isfinite(v)) largest = std::max(largest, std::fabs(v));
  double worst = 0, squares = 0, reference = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double a = got[i], b = expected[i];
    if (a == b || (std::isnan(a) && std::isnan(b))) {
      reference += std::isfinite(b) ? b * b : 0;
      continue;
    }
    const double d = std::fabs(a - b);
    if (!std::isfinite(d)) return INFINITY;
    squares += d * d;
    reference += b * b;
    switch (measure) {
      case Measure::largest:
        worst = std::max(worst, largest > 0 ? d / largest : INFINITY);
        break;
      case Measure::elementwise:
        worst = std::max(worst, largest > 0 ? d / (std::fabs(b) + largest) : INFINITY);
        break;
      case Measure::absolute:
        worst = std::max(worst, d);
        break;
      case Measure::exact:
        worst += 1;
        break;
      case Measure::rms:
        break;
    }
  }
  if (measure != Measure::rms || squares == 0) return worst;
  return reference > 0 ? std::sqrt(squares / reference) : INFINITY;
}

bool Report::passed() const {
  if (!problems.empty()) return false;
  if (!not_a_case.empty()) return true;
  return !checks.empty() &&
         std::all_of(checks.begin(), checks.end(), [](const Check& c) { return c.passed(); });
}

const Check* Report::worst() const {
  const auto badness = [](const Check& c) {
    if (std::isnan(c.error)) return static_cast<double>(INFINITY);
    if (c.error == 0) return 0.0;
    return c.tolerance > 0 ? c.error / c.tolerance : static_cast<double>(INFINITY);
  };
  const auto it = std::max_element(checks.begin(), checks.end(),
                                   [&](const Check& a, const Check& b) { return badness(a) < badness(b); });
  return it == checks.end() ? nullptr : &*it;
}

Case::Case(const std::filesystem::path& path, const Settings& settings, Device& device, Report& report)
    : file_(data::SafetensorsFile::open(path)), settings_(settings), device_(device), report_(report) {}

bool Case::executes() const { return device_.executes(); }

bool Case::has_meta(const std::string& key) const { return file_.metadata().count(key) != 0; }

std::string Case::meta(const std::string& key) const {
  const auto it = file_.metadata().find(key);
  RECKON_CHECK(it != file_.metadata().end(), "{}: the metadata has no '{}'", file_.file_name(), key);
  return it->second;
}

Json Case::meta_json(const std::string& key) const {
  if (!has_meta(key)) return Json::object();
  try {
    return Json::parse(meta(key));
  } catch (const Json::exception& e) {
    raise_error(fmt::format("{}: metadata '{}' is not JSON: {}", file_.file_name(), key, e.what()));
  }
}

std::vector<std::string> Case::names_under(const std::string& prefix) const {
  std::vector<std::string> out;
  for (const std::string& n : file_.names())
    if (n.starts_with(prefix)) out.push_back(n.substr(prefix.size()));
  std::sort(out.begin(), out.end());
  return out;
}

Shape Case::shape(const std::string& tensor) const {
  return Shape(std::span<const int64_t>(file_.tensor(tensor).shape));
}

bool Case::floating(const std::string& tensor) const {
  const StoredType t = file_.tensor(tensor).dtype;
  return t == StoredType::F64 || t == StoredType::F32 || t == StoredType::F16 || t == StoredType::BF16;
}

std::vector<double> Case::values(const std::string& tensor) const {
  const data::TensorView& view = file_.tensor(tensor);
  std::vector<double> out(static_cast<size_t>(view.n_elements()));
  for (size_t i = 0; i < out.size(); ++i) out[i] = element(view, i);
  return out;
}

Tensor Case::upload(const std::string& tensor, DType dtype, Category category) {
  use(tensor);
  const data::TensorView& view = file_.tensor(tensor);
  const Shape s = shape(tensor);
  if (!floating(tensor)) {
    const auto type = data::runtime_type(view.dtype);
    RECKON_CHECK(type.has_value(), "{}: no runtime type for {}", tensor, data::name_of(view.dtype));
    return Tensor::from_host(device_, s, *type, view.bytes.data(), view.bytes.size(), category, tensor);
  }
  const std::vector<double> v = values(tensor);
  Tensor t = upload_values(v, s, dtype, tensor);
  t.storage()->set_category(category);
  return t;
}

Tensor Case::parameter(const std::string& tensor, DType dtype) {
  Tensor t = upload(tensor, dtype, Category::parameter);
  autograd::set_requires_grad(t);
  return t;
}

Tensor Case::upload_values(const std::vector<double>& v, const Shape& s, DType dtype,
                           std::string_view label) const {
  const std::vector<std::byte> host = bytes_of(v, dtype);
  return Tensor::from_host(device_, s, dtype, host.data(), host.size(), Category::input, label);
}

void Case::ignore(const std::string& tensor, const std::string& reason) {
  if (used_.insert(tensor).second) report_.ignored.emplace_back(tensor, reason);
}

void Case::ignore_under(const std::string& prefix, const std::string& reason) {
  for (const std::string& n : file_.names())
    if (n.starts_with(prefix)) ignore(n, reason);
}

void Case::compare(const std::string& tensor, const Tensor& got, Tolerance tolerance,
                   const std::vector<double>& where) {
  use(tensor);
  RECKON_CHECK(got.defined(), "{}: nothing was computed to compare with it", tensor);
  if (got.shape() != shape(tensor)) {
    problem(fmt::format("{}: computed {}, the file has {}", tensor, to_string(got.shape()),
                        to_string(shape(tensor))));
    return;
  }
  if (!executes()) return;
  std::vector<double> a = to_doubles(got), b = values(tensor);
  if (!where.empty()) {
    RECKON_CHECK(a.size() % where.size() == 0, "{}: a mask of {} positions does not divide {} elements", tensor,
                 where.size(), a.size());
    const size_t width = a.size() / where.size();
    for (size_t i = 0; i < a.size(); ++i)
      if (where[i / width] == 0) a[i] = b[i] = 0;
  }
  report_.check(tensor, distance(tolerance.measure, a, b), tolerance.value);
}

void Case::compare_values(const std::string& tensor, const std::vector<double>& got, Tolerance tolerance) {
  use(tensor);
  if (executes()) report_.check(tensor, distance(tolerance.measure, got, values(tensor)), tolerance.value);
}

void Case::finish() {
  for (const std::string& n : file_.names())
    if (!used_.count(n)) problem(fmt::format("{}: neither an input nor compared nor ignored", n));
}

std::vector<double> to_doubles(const Tensor& t) {
  autograd::NoGrad no_grad;
  return numbers_of(ops::contiguous(t.detached()).to_host(), t.dtype());
}

void backward_from(const TensorList& outputs, const TensorList& seeds) {
  TensorList roots, cotangents;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!seeds[i].defined() || !outputs[i].requires_grad()) continue;
    roots.push_back(outputs[i]);
    cotangents.push_back(seeds[i].dtype() == outputs[i].dtype() ? seeds[i]
                                                                : ops::cast(seeds[i], outputs[i].dtype()));
  }
  autograd::backward(roots, cotangents);
}

}  // namespace reckon::parity
