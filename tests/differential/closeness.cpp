#include "tests/differential/closeness.h"

#include <cmath>

#include "autograd/hook.h"
#include "runtime/core/rng.h"
#include "runtime/events/scope.h"
#include "tests/differential/values.h"

namespace reckon::differential {
namespace {

using ops::HostTensor;

// What a run may be off by: forty of the movements seen: a fused op rounds some dozen times inside, and some roundings inside one op.
constexpr double kMovements = 40, kRoundings = 16;
constexpr double kMostInside = 64;  // values of programs; statistics and masks may be larger
constexpr double kMostInF16 = 2e4;
constexpr int kFewRuns = 2, kManyRuns = 24;

struct Noise {
  double relative = 0, least = 0;
  uint64_t seed = 0, n = 0;
  double largest = 0;

  // Of results, `in` is the largest input: inside an op terms of that size may cancel, and some of them do.
  void move(std::vector<double>& values, double in = 0) {
    const Philox random{seed, ++n};
    const double absolute = least + relative * in / 4;
    for (size_t i = 0; i < values.size(); ++i) {
      const PhiloxBlock b = random(i);
      if (!std::isfinite(values[i])) continue;
      values[i] += (2 * uniform_open(b[0]) - 1) * (relative * std::fabs(values[i])) +
                   (2 * uniform_open(b[1]) - 1) * absolute;
      if (context().phase == Phase::backward) largest = std::max(largest, std::fabs(values[i]));
    }
  }
};

thread_local Noise* noise_now = nullptr;
thread_local ops::CallHook quiet_hook = nullptr;

uint32_t gradient_mask(const ops::OpDef& op, std::span<const Tensor> inputs) {
  uint32_t mask = 0;
  if (!autograd::grad_state().enabled || op.gradient != ops::Gradient::differentiable) return mask;
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].defined() && inputs[i].requires_grad()) mask |= 1u << i;
  return mask;
}

// Results that are views are moved with what they view; two results never share a storage.
TensorList noisy_call(const ops::OpDef& op, std::span<const Tensor> inputs, const ops::AttrsPtr& attrs) {
  double largest_in = 0;
  for (const Tensor& in : inputs)
    if (in.defined() && in.dtype() == DType::f64)
      for (double v : read(in).values)
        if (std::isfinite(v)) largest_in = std::max(largest_in, std::min(kMostInside, std::fabs(v)));
  TensorList outputs = quiet_hook(op, inputs, attrs);
  const ops::Plan plan = ops::plan_of(op, inputs, attrs, outputs[0].device().spec(), gradient_mask(op, inputs));
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Tensor& out = outputs[i];
    // How statistics for backward are kept is the op's affair: no rounding of theirs excuses a gradient.
    if (i < plan.outputs.size() && !plan.outputs[i].differentiable) continue;
    bool view = !out.defined() || out.dtype() != DType::f64;
    for (const Tensor& in : inputs) view |= in.defined() && !view && in.storage() == out.storage();
    if (view) continue;
    HostTensor t = read(out);
    noise_now->move(t.values, largest_in);
    write(out, t.values);
  }
  return outputs;
}

class NoisyCalls : public Watcher {
 public:
  explicit NoisyCalls(Noise& noise) {
    autograd::install_hook();
    quiet_hook = ops::call_hook();
    noise_now = &noise;
    ops::set_call_hook(noisy_call);
  }
  ~NoisyCalls() override { ops::set_call_hook(quiet_hook); }
  // For what ops round inside. Numbers that are written down stand as they are: programs ask for their exact place.
  void leaf(const std::string&, const Tensor& t, bool /*trained*/, bool drawn) override {
    if (!drawn || !t.contiguous()) return;  // elements of others may share a place
    HostTensor values = read(t);
    noise_now->move(values.values);
    write(t, values.values);
  }
  NoisyCalls(const NoisyCalls&) = delete;
  NoisyCalls& operator=(const NoisyCalls&) = delete;
};

double distance(const HostTensor& a, const HostTensor& b) {
  if (a.shape != b.shape) return INFINITY;
  double worst = 0;
  for (size_t i = 0; i < a.values.size(); ++i) {
    const double x = a.values[i], y = b.values[i];
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    const double d = std::fabs(x - y);
    worst = std::max(worst, std::isfinite(d) ? d : INFINITY);
  }
  return worst;
}

double roughness_of(const std::string& type) {
  if (type == "bf16") return 0x1p-8;
  if (type == "f16") return 0x1p-11;
  return type == "f32" ? 0x1p-24 : 0;
}

}  // namespace

double roughness(const Program& p) {
  double most = std::max(0x1p-50, roughness_of(p.header.text("autocast")));
  for_each_statement(p.body, [&](const Statement& s) { most = std::max(most, roughness_of(s.text("type"))); });
  return most;
}

Closeness::Closeness(const Program& p, const Outcome& exact)
    : p_(p), exact_(exact), roughness_(roughness(p)), f16_(to_text(p).find("f16") != std::string::npos) {
  // What a program names must fit; what an op sums up inside is the op's affair.
  for (const auto& [name, t] : exact.values)
    for (double v : t.values) overflows_ |= f16_ && std::fabs(v) > kMostInF16;
  more_runs(kFewRuns);
}

void Closeness::more_runs(int n) {
  for (int i = 0; i < n; ++i) {
    Noise noise{.relative = roughness_, .least = f16_ ? 0x1p-25 : 0, .seed = 77 + moved_.size()};
    NoisyCalls calls(noise);
    moved_.push_back(run_program(p_, {.in_f64 = true}, &calls));
    overflows_ |= f16_ && noise.largest > kMostInF16;
  }
}

std::string Closeness::compare(const std::string& what, const HostTensor& exact, const HostTensor& got,
                               const std::vector<const HostTensor*>& moved) const {
  double movement = 0, largest = 0;
  for (const HostTensor* m : moved) movement = std::max(movement, distance(*m, exact));
  for (double v : exact.values)
    if (std::isfinite(v)) largest = std::max(largest, std::fabs(v));
  const double allowed = kMovements * movement + kRoundings * roughness_ * largest + (f16_ ? 0x1p-20 : 1e-30);
  const double d = distance(got, exact);
  if (d <= allowed) return "";
  return fmt::format("{} is off by {:.3g} from f64, rounding explains {:.3g}; largest element {:.3g}", what, d,
                     allowed, largest);
}

std::vector<std::string> Closeness::compare_all(const Outcome& o) const {
  std::vector<std::string> all;
  const auto part = [&](const char* what, std::map<std::string, HostTensor> Outcome::*member) {
    for (const auto& [name, exact] : exact_.*member) {
      const auto got = (o.*member).find(name);
      if (got == (o.*member).end()) {
        all.push_back(fmt::format("{} {} is missing", what, name));
        continue;
      }
      std::vector<const HostTensor*> moved;
      for (const Outcome& m : moved_)
        if (const auto found = (m.*member).find(name); found != (m.*member).end())
          moved.push_back(&found->second);
      std::string far = compare(fmt::format("{} {}", what, name), exact, got->second, moved);
      if (!far.empty()) all.push_back(std::move(far));
    }
  };
  part("value", &Outcome::values);
  part("gradient of", &Outcome::gradients);
  return all;
}

std::vector<std::string> Closeness::too_far(const Outcome& o) {
  if (o.raised != exact_.raised || overflows_) return {};
  std::vector<std::string> far = compare_all(o);
  if (far.empty()) return far;
  // Few runs may miss a step of a relu; many see it.
  if (moved_.size() < kManyRuns) more_runs(kManyRuns);
  return overflows_ ? std::vector<std::string>{} : compare_all(o);
}

}  // namespace reckon::differential
