// Inputs in other layouts, and without elements, on the emulated GPU: the CPU's values and the dry run's events.
// Small cases of every op; nothing here names an op.
#include <algorithm>
#include <cmath>
#include <set>

#include "tests/simt/one_op.h"

namespace reckon::testing {
namespace {

using ops::OpCase;
using ops::OpDef;
using Change = std::function<void(TensorList&)>;

struct Ran {
  std::vector<std::vector<double>> outputs;
  std::vector<Event> events;
  std::string error;
};

Ran run(Device& device, const OpDef& op, const OpCase& c, const Change& change) {
  Ran r;
  EventLog log;
  device.add_sink(&log);
  try {
    TensorList in = make_inputs(device, c, DType::f32, 17);
    change(in);
    const TensorList out = ops::call(op, in, c.attrs);
    r.events = log.events;
    for (const Tensor& t : out) r.outputs.push_back(device.executes() ? to_doubles(t) : std::vector<double>{});
  } catch (const Error& e) {
    r.error = std::string(e.what()).substr(0, std::string(e.what()).find('\n'));
  }
  device.remove_sink(&log);
  return r;
}

// A value that is not finite must be the same; 0 / 0 may have either sign.
bool alike(double a, double b, double largest, double bound) {
  if (std::isnan(b)) return std::isnan(a);
  return a == b || std::fabs(a - b) <= bound * std::max(largest, 1e-30);
}

void expect_agreement(const OpDef& op, const OpCase& c, const Change& change, const std::string& where) {
  Device gpu(DeviceKind::cuda, simt::spec(), DeviceOptions{}, simt::make_backend()),
      meta(DeviceKind::meta, simt::spec());
  const auto cpu = make_device(DeviceKind::cpu);
  const Ran got = run(gpu, op, c, change), planned = run(meta, op, c, change), want = run(*cpu, op, c, change);
  EXPECT_EQ(got.error, planned.error) << where;
  if (want.error.find("is outside") != std::string::npos) return;  // an index, which only the CPU looks at
  EXPECT_EQ(got.error.empty(), want.error.empty()) << where << ": " << got.error << " / " << want.error;
  if (!got.error.empty() || !want.error.empty()) return;
  EXPECT_EQ(first_difference(planned.events, got.events), "") << where;
  for (size_t i = 0; i < want.outputs.size(); ++i) {
    if (want.outputs[0].empty()) break;  // statistics of nothing are not read
    double largest = 0;
    for (double v : want.outputs[i]) largest = std::isfinite(v) ? std::max(largest, std::fabs(v)) : largest;
    for (size_t e = 0; e < want.outputs[i].size(); ++e)
      ASSERT_TRUE(
          alike(got.outputs[i][e], want.outputs[i][e], largest, 4 * tolerance(DType::f32) * c.tolerance_scale))
          << where << " / output " << i << " element " << e << ": " << got.outputs[i][e] << ", on the CPU "
          << want.outputs[i][e];
  }
}

bool is_small(const OpCase& c) {
  int64_t n = 0;
  for (const ops::InputSpec& in : c.inputs) n += in.optional_absent ? 0 : numel(in.shape);
  return n < 3000;
}

struct SimtLayouts : ::testing::TestWithParam<const OpDef*> {};

TEST_P(SimtLayouts, GiveTheCpusValues) {
  const OpDef& op = *GetParam();
  for (const OpCase& c : op.cases()) {
    if (!is_small(c)) continue;
    for (size_t k = 0; k < c.inputs.size(); ++k) {
      if (c.inputs[k].optional_absent) continue;
      for (size_t l = 0; l < relayouts().size(); ++l) {
        const Relayout& layout = relayouts()[l];
        if (k > 2 && (l + k) % 2) continue;  // half of the layouts for the inputs behind
        const auto change = [&](TensorList& in) {
          if (const Tensor t = layout.make(in[k]); t.defined()) in[k] = t;
        };
        expect_agreement(op, c, change, fmt::format("{} / {} / input {} {}", op.name, c.name, k, layout.name));
      }
      if (c.inputs[k].shape.rank() > 0 && numel(c.inputs[k].shape) > 0)
        expect_agreement(
            op, c, [&](TensorList& in) { in[k] = repeated_along(in[k], 0); },
            fmt::format("{} / {} / input {} repeated", op.name, c.name, k));
    }
  }
}

TEST_P(SimtLayouts, GiveTheCpusValuesWithoutElements) {
  const OpDef& op = *GetParam();
  for (const OpCase& original : op.cases()) {
    if (!is_small(original)) continue;
    std::set<int64_t> extents;
    for (const ops::InputSpec& in : original.inputs) extents.insert(in.shape.begin(), in.shape.end());
    extents.erase(0);
    for (int64_t extent : extents) {
      OpCase c = original;
      for (ops::InputSpec& in : c.inputs)
        for (int i = 0; i < in.shape.rank(); ++i)
          if (in.shape[i] == extent) in.shape[i] = 0;
      expect_agreement(
          op, c, [](TensorList&) {}, fmt::format("{} / {} without {}", op.name, c.name, extent));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ops, SimtLayouts, ::testing::ValuesIn(ops::all_ops().begin(), ops::all_ops().end()),
                         [](const auto& p) { return std::string(p.param->name); });

}  // namespace
}  // namespace reckon::testing
