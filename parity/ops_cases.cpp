#include "parity/ops_cases.h"

#include <algorithm>
#include <cmath>

#include "autograd/node.h"
#include "parity/books.h"
#include "runtime/events/scope.h"

namespace reckon::parity {

OpRun::OpRun(Case& c)
    : file(c),
      attrs(c.meta_json("attrs")),
      f64(c.settings().dtype == DType::f64),
      f32(c.settings().dtype == DType::f32) {
  // Rounding of a few hundred additions; in bf16 also of the inputs, so a few units of 2^-8.
  tolerance = {Measure::largest, f64 ? 1e-12 : f32 ? 1e-5 : 3e-2};
}

const Tensor& OpRun::in(const std::string& name) {
  Tensor& t = inputs_[name];
  if (t.defined()) return t;
  const std::string full = "in." + name;
  RECKON_CHECK(file.has(full), "the file has no {}", full);
  t = file.floating(full) && name != "mask" ? file.parameter(full, file.settings().dtype)
                                            : file.upload(full, file.settings().dtype);
  return t;
}

Tensor OpRun::optional(const std::string& name) { return file.has("in." + name) ? in(name) : Tensor{}; }

double OpRun::number(const char* name) const {
  RECKON_CHECK(attrs.contains(name) && attrs[name].is_number(), "attribute '{}' must be a number in {}", name,
               attrs.dump());
  return attrs[name].get<double>();
}

int64_t OpRun::integer(const char* name) const {
  RECKON_CHECK(attrs.contains(name) && attrs[name].is_number_integer(),
               "attribute '{}' must be an integer in {}", name, attrs.dump());
  return attrs[name].get<int64_t>();
}

double OpRun::largest(const std::string& tensor) const {
  double m = 0;
  for (double v : file.values(tensor))
    if (std::isfinite(v)) m = std::max(m, std::fabs(v));
  return m;
}

double OpRun::smallest_row(const std::string& tensor) const {
  const std::vector<double> v = file.values(tensor);
  const size_t width = static_cast<size_t>(file.shape(tensor).back());
  double smallest = INFINITY;
  for (size_t i = 0; i + width <= v.size(); i += width) {
    double squares = 0;
    for (size_t k = 0; k < width; ++k) squares += v[i + k] * v[i + k];
    smallest = std::min(smallest, std::sqrt(squares / static_cast<double>(width)));
  }
  return smallest;
}

void OpRun::finish(Books* books) {
  if (books) books->saved_bytes = static_cast<int64_t>(file.device().arena().live_bytes(Category::saved));
  for (const auto& [name, t] : outputs_) file.compare("out." + name, t, tolerance);
  TensorList roots, seeds;
  for (const auto& [name, t] : outputs_) {
    const std::string cot = "cot." + name;
    if (!file.has(cot)) continue;
    roots.push_back(t);
    seeds.push_back(file.upload(cot, file.settings().dtype));
  }
  if (!roots.empty()) backward_from(roots, seeds);
  for (const auto& [name, t] : inputs_) {
    const std::string grad = "grad." + name;
    if (file.has(grad)) file.compare(grad, autograd::grad_of(t), tolerance);
  }
  file.ignore_under("ref.", "an intermediate of the producer, seen through the outputs");
}

void run_op_case(Case& c, Books* books) {
  const std::string op = c.meta("op");
  c.report().kind = op;
  autograd::CheckpointScope policy(c.settings().checkpoint);
  FlopCounter flops(c.device());
  PhaseScope phase(Phase::forward);
  OpRun run(c);
  for (const NamedRunner& r : tensor_op_runners()) {
    if (op != r.op) continue;
    r.run(run);
    run.finish(books);
    flops.write_to(books);
    return;
  }
  for (const NamedRunner& r : step_runners())
    if (op == r.op) return r.run(run);
  raise_error(fmt::format("cannot run: no operation is called '{}' here", op));
}

}  // namespace reckon::parity
