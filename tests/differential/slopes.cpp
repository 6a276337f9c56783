#include "tests/differential/slopes.h"

#include <cmath>
#include <deque>

#include "tests/differential/references.h"
#include "tests/differential/values.h"

namespace reckon::differential {
namespace {

using ops::HostTensor;

// One evaluation, at leaves moved by `step` along a direction.
class Moved : public Watcher {
 public:
  Moved(const Tape& tape, const std::set<int>& skipped, uint64_t seed, double step, const std::string& only)
      : tape_(tape), skipped_(skipped), seed_(seed), step_(step), only_(only) {}

  bool tries() override { return false; }
  bool skips(int statement) override { return skipped_.contains(statement); }

  void leaf(const std::string& name, const Tensor& t, bool trained, bool /*drawn*/) override {
    if (!trained) return;
    device_ = &t.device();
    HostTensor at = read(t);
    const std::vector<double> base = at.values;
    ++n_leaves_;
    if (only_.empty() || only_ == name) {
      const auto direction = drawn("signed:" + std::to_string(seed_ + n_leaves_), 1, at.values.size());
      for (size_t i = 0; i < at.values.size(); ++i) at.values[i] += step_ * direction[i];
      write(t, at.values);
      at = read(t);  // elements may share a place
    }
    for (size_t i = 0; i < at.values.size(); ++i) at.values[i] -= base[i];
    moves[name] = std::move(at);
  }

  Tensor made(const Statement& s, const std::string& name, const Tensor& t, bool constant) override {
    const auto hook = tape_.hooked.find(name);
    if (!constant && hook == tape_.hooked.end()) return t;
    HostTensor now = constant ? HostTensor() : read(t);
    const HostTensor& base = next();
    if (constant) {
      now = base;
    } else {
      for (size_t i = 0; i < now.values.size(); ++i)
        now.values[i] = base.values[i] + hook->second * (now.values[i] - base.values[i]);
    }
    if (!now.defined) return t;
    Tensor own =
        Tensor::empty(t.defined() ? t.device() : *device_, now.shape, now.dtype, Category::transient, s.word);
    write(own, now.values);
    return own;
  }

  // Of an update of several tensors all are read before and all are written after.
  void before_write(const Tensor& target) override {
    HostTensor moved = read(target);
    const HostTensor& base = next();
    for (size_t i = 0; i < moved.values.size(); ++i) moved.values[i] -= base.values[i];
    held_.push_back(std::move(moved));
  }
  void after_write(const Tensor& target) override {
    HostTensor now = next();
    for (size_t i = 0; i < now.values.size(); ++i) now.values[i] += held_.front().values[i];
    held_.pop_front();
    write(target, now.values);
  }

  bool backward(const TensorList& roots, const TensorList& seeds) override {
    for (size_t k = 0; k < roots.size(); ++k) {
      const HostTensor y = read(roots[k]), s = read(seeds[k]);
      for (size_t i = 0; i < y.values.size(); ++i) {
        loss += static_cast<long double>(y.values[i]) * s.values[i];
        magnitude += std::fabs(y.values[i] * s.values[i]);
      }
    }
    return true;
  }
  void gradients_cleared() override { loss = magnitude = 0; }

  long double loss = 0;
  double magnitude = 0;
  std::map<std::string, HostTensor> moves;

 private:
  const HostTensor& next() { return tape_.entries.at(at_++); }

  const Tape& tape_;
  const std::set<int>& skipped_;
  uint64_t seed_;
  double step_;
  std::string only_;
  uint64_t n_leaves_ = 0;
  size_t at_ = 0;
  std::deque<HostTensor> held_;
  Device* device_ = nullptr;
};

struct Difference {
  double slope, tolerance, expected;
  double rise, fall;  // slopes to either side; 0 unless asked for
  std::vector<std::string> leaves = {};
};

Difference difference(const Program& p, const Tape& tape, const Outcome& real, uint64_t seed, double step,
                      const std::string& only, bool sides = false) {
  std::set<int> skipped;
  for (const Raised& r : real.raised) skipped.insert(r.statement);
  const autograd::NoGrad no_grad;
  const ReferenceCalls references;
  Settings settings{.in_f64 = true, .keep_values = false};
  Moved up(tape, skipped, seed, step, only), down(tape, skipped, seed, -step, only),
      here(tape, skipped, seed, 0, only);
  for (Moved* side : {&up, &down, &here}) {
    if (side == &here && !sides) break;
    const Outcome o = run_program(p, settings, side);
    RECKON_CHECK(o.raised.empty(), "evaluated by references, '{}' raised: {}", o.raised[0].line,
                 o.raised[0].message);
  }
  double expected = 0, size = 0;
  for (const auto& [name, gradient] : real.gradients)
    for (size_t i = 0; i < gradient.values.size(); ++i) {
      const double part = gradient.values[i] * (up.moves.at(name).values[i] / step);
      expected += part;
      size += std::fabs(part);
    }
  Difference d{static_cast<double>((up.loss - down.loss) / (2 * static_cast<long double>(step))),
               2e-6 * size + 1e-14 * up.magnitude / step + 1e-9, expected,
               static_cast<double>(up.loss - here.loss) / step,
               static_cast<double>(here.loss - down.loss) / step};
  for (const auto& [name, move] : up.moves) d.leaves.push_back(name);
  return d;
}

}  // namespace

Tape::Tape(const Program& p) {
  for_each_statement(p.body, [&](const Statement& s) {
    if (s.word != "hook" || s.text("kind") != "scale") return;
    const auto [at, fresh] = hooked.emplace(s.ins.at(0), s.number("factor"));
    if (!fresh) at->second *= s.number("factor");
  });
}

Tensor Tape::made(const Statement& s, const std::string& name, const Tensor& t, bool constant) {
  // Some ops return their input itself, with its graph, under no_grad too: no constant.
  const bool passed = constant && s.word != "detach" && t.defined() && t.requires_grad();
  if (constant || hooked.contains(name)) entries.push_back(t.defined() && !passed ? read(t) : HostTensor());
  return t;
}
void Tape::before_write(const Tensor& target) { entries.push_back(read(target)); }
void Tape::after_write(const Tensor& target) { entries.push_back(read(target)); }

Slope judge_slope(const Program& p, const Tape& tape, const Outcome& real, uint64_t seed) {
  const auto unknown = [](const Difference& d) {
    return !std::isfinite(d.slope) || !std::isfinite(d.expected);
  };
  const auto agrees = [](const Difference& d) { return std::fabs(d.slope - d.expected) <= d.tolerance; };
  const double step = 0x1p-17;
  const Difference first = difference(p, tape, real, seed, step, "");
  if (agrees(first)) return {.judged = true};
  if (unknown(first)) return {};  // a mean of nothing
  // A kink lies between, or the step is wrong for this program: where the slopes of two steps agree it is neither.
  const Difference fine = difference(p, tape, real, seed, step / 16, "", true);
  if (agrees(fine)) return {.judged = true};
  const double off = std::fabs(fine.slope - fine.expected);
  if (std::fabs(first.slope - fine.slope) > 0.05 * off || std::fabs(fine.rise - fine.fall) > 0.5 * off)
    return {};
  std::string leaves;
  for (const std::string& name : first.leaves) {
    const Difference one = difference(p, tape, real, seed, step, name);
    if (!agrees(one)) leaves += fmt::format("; of {} {:.6g}, right is {:.6g}", name, one.expected, one.slope);
  }
  return {.judged = true,
          .wrong = fmt::format("gradient along a direction is {:.9g}, right is {:.9g}{}", fine.expected,
                               fine.slope, leaves)};
}

}  // namespace reckon::differential
