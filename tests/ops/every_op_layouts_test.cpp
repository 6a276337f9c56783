// Every registered op with each of its inputs in other layouts: dispatch takes a layout and gives the values of
// the contiguous input, or refuses it by name; call() takes every layout. Nothing here names an op.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "autograd/engine.h"
#include "autograd/node.h"
#include "ops/cast/cast.h"
#include "tests/support/event_log.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

using ops::OpCase;
using ops::OpDef;
using Outputs = std::vector<std::vector<double>>;
using Run = TensorList (*)(const OpDef&, std::span<const Tensor>, const ops::AttrsPtr&);

TensorList dispatched(const OpDef& op, std::span<const Tensor> in, const ops::AttrsPtr& attrs) {
  return ops::dispatch(op, in, attrs);
}
TensorList called(const OpDef& op, std::span<const Tensor> in, const ops::AttrsPtr& attrs) {
  return ops::call(op, in, attrs);
}

// The outputs of `run` on the case, input k passed through `change`; the error's text where it refuses.
struct Result {
  Outputs outputs;
  std::string error;
};
Result result_of(Run run, Device& device, const OpDef& op, const OpCase& c, DType t, size_t k,
                 const std::function<Tensor(const Tensor&)>& change) {
  TensorList in = make_inputs(device, c, t, 11);
  if (in[k].defined()) in[k] = change(in[k]);
  Result r;
  try {
    for (const Tensor& out : run(op, in, c.attrs))
      r.outputs.push_back(device.executes() ? to_doubles(out) : std::vector<double>{});
  } catch (const Error& e) {
    r.error = e.what();
  }
  return r;
}

bool writes(const OpDef& op, const OpCase& c, size_t k) {
  auto device = make_device(DeviceKind::meta);
  const ops::Plan plan = ops::plan_of(op, make_inputs(*device, c, DType::f32, 11), c.attrs, device->spec(), 0);
  return std::any_of(plan.outputs.begin(), plan.outputs.end(),
                     [k](const ops::OutputSpec& o) { return o.writes && o.alias_of == static_cast<int>(k); });
}

// What dispatch says of a layout it does not take. A reshape that needs a copy says so in words of its own.
bool is_refusal(const std::string& error) {
  return error.find("make it contiguous first") != std::string::npos ||
         error.find("cannot be viewed as") != std::string::npos;
}

void expect_close(const Result& got, const Result& want, const OpCase& c, DType t, const std::string& where) {
  EXPECT_EQ(got.error, "") << where;
  if (got.error != "") return;
  ASSERT_EQ(got.outputs.size(), want.outputs.size()) << where;
  for (size_t i = 0; i < want.outputs.size(); ++i)
    EXPECT_LE(relative_error(got.outputs[i], want.outputs[i]), tolerance(t) * c.tolerance_scale)
        << where << " / output " << i;
}

struct EveryOpLayouts : ::testing::TestWithParam<const OpDef*> {
  const OpDef& op() const { return *GetParam(); }

  // Calls f(case, type, input, is written) for every input that is given.
  template <class F>
  void for_each_input(F f) {
    for (const OpCase& c : op().cases())
      for (DType t : {DType::f32, DType::bf16})
        for (size_t k = 0; k < c.inputs.size(); ++k)
          if (!c.inputs[k].optional_absent && (t == DType::f32 || c.half_types)) f(c, t, k, writes(op(), c, k));
  }
  std::string where(const OpCase& c, DType t, size_t k, const char* layout) const {
    return fmt::format("{} / {} / {} / input {} {}", op().name, c.name, name_of(t), k, layout);
  }
};

TEST_P(EveryOpLayouts, GivesTheValuesOfTheContiguousInputOrRefuses) {
  for_each_input([&](const OpCase& c, DType t, size_t k, bool written) {
    auto device = make_device(DeviceKind::cpu);
    const Result want = result_of(dispatched, *device, op(), c, t, k, ops::copy);
    EXPECT_EQ(want.error, "");
    for (const Relayout& layout : relayouts()) {
      const std::string at = where(c, t, k, layout.name);
      const Tensor changed = layout.make(make_inputs(*device, c, t, 11)[k]);
      if (!changed.defined()) continue;
      const Result got = result_of(dispatched, *device, op(), c, t, k, layout.make);
      if (got.error == "")
        expect_close(got, want, c, t, at);
      else
        EXPECT_TRUE(is_refusal(got.error) && !changed.contiguous()) << at << ": " << got.error;
      const Result through_call = result_of(called, *device, op(), c, t, k, layout.make);
      if (is_refusal(through_call.error) && (written || got.error.find("viewed") != std::string::npos))
        continue;
      expect_close(through_call, want, c, t, at + ", called");
    }
  });
}

TEST_P(EveryOpLayouts, TakesABroadcastInputByCall) {
  for_each_input([&](const OpCase& c, DType t, size_t k, bool written) {
    auto device = make_device(DeviceKind::cpu);
    const Shape& shape = c.inputs[k].shape;
    for (int axis : {0, shape.rank() - 1}) {
      if (axis < 0 || axis >= shape.rank() || shape[axis] < 2) continue;
      const auto repeated = [axis](const Tensor& x) { return repeated_along(x, axis); };
      const auto copied = [axis](const Tensor& x) { return ops::copy(repeated_along(x, axis)); };
      const Result got = result_of(called, *device, op(), c, t, k, repeated),
                   want = result_of(called, *device, op(), c, t, k, copied);
      const std::string at = where(c, t, k, "repeated");
      if (written)
        EXPECT_NE(got.error, "") << at;
      else if (got.error.find("cannot be viewed as") == std::string::npos)
        expect_close(got, want, c, t, at);
    }
  });
}

TEST_P(EveryOpLayouts, MakesTheEventsOfTheDryRun) {
  for_each_input([&](const OpCase& c, DType t, size_t k, bool) {
    for (const Relayout& layout : relayouts()) {
      std::vector<Event> logs[2];
      for (int meta = 0; meta < 2; ++meta) {
        auto device = make_device(meta ? DeviceKind::meta : DeviceKind::cpu);
        EventLog log;
        device->add_sink(&log);
        TensorList in = make_inputs(*device, c, t, 11);
        const Tensor changed = layout.make(in[k]);
        if (changed.defined()) in[k] = changed;
        try {
          ops::call(op(), in, c.attrs);
        } catch (const Error& e) {
          EXPECT_TRUE(is_refusal(e.what())) << e.what();
        }
        logs[meta] = log.events;
        device->remove_sink(&log);
      }
      EXPECT_EQ(first_difference(logs[0], logs[1]), "") << where(c, t, k, layout.name);
    }
  });
}

// Gradients of the case's float inputs, all of them through `of_inputs`, the seeds through `of_seeds`.
Outputs gradients(const OpDef& op, const OpCase& c, const std::function<Tensor(const Tensor&)>& of_inputs,
                  const std::function<Tensor(const Tensor&)>& of_seeds) {
  auto device = make_device(DeviceKind::cpu, 1);
  TensorList in = make_inputs(*device, c, DType::f64, 17);
  for (size_t i = 0; i < in.size(); ++i) {
    if (!in[i].defined()) continue;
    const Tensor changed = of_inputs(in[i]);
    Tensor own = (changed.defined() ? changed : ops::copy(in[i])).detached();
    if (own.dtype() == DType::f64 && !c.inputs[i].no_grad) autograd::set_requires_grad(own);
    in[i] = own;
  }
  TensorList roots, seeds;
  try {
    for (const Tensor& out : ops::call(op, in, c.attrs)) {
      if (!out.requires_grad()) continue;
      const OpCase seed{.name = "seed", .inputs = {{.shape = out.shape()}}};
      const Tensor plain = make_inputs(*device, seed, out.dtype(), 100 + roots.size())[0];
      const Tensor changed = of_seeds(plain);
      seeds.push_back(changed.defined() ? changed : plain);
      roots.push_back(out);
    }
  } catch (const Error& e) {
    EXPECT_TRUE(std::string(e.what()).find("cannot be viewed as") != std::string::npos) << e.what();
    return {};
  }
  autograd::backward(roots, seeds);
  Outputs grads;
  for (const Tensor& t : in)
    if (t.defined() && t.requires_grad()) grads.push_back(to_doubles(autograd::grad_of(t)));
  return grads;
}

TEST_P(EveryOpLayouts, GradientsDoNotDependOnThem) {
  if (op().gradient != ops::Gradient::differentiable) return;
  for (const OpCase& c : op().cases()) {
    const auto same = [](const Tensor& t) { return ops::copy(t); };
    const Outputs want = gradients(op(), c, same, same);
    const auto expect_same = [&](const Outputs& got, const Outputs& expected, const char* what) {
      ASSERT_EQ(got.size(), expected.size());
      for (size_t i = 0; i < got.size(); ++i)
        EXPECT_LE(relative_error(got[i], expected[i]), 1e-12 * c.tolerance_scale)
            << op().name << " / " << c.name << " / " << what << " / gradient " << i;
    };
    for (const Relayout& layout : relayouts()) {
      expect_same(gradients(op(), c, same, layout.make), want, layout.name);
      if (const Outputs got = gradients(op(), c, layout.make, same); !got.empty())
        expect_same(got, want, layout.name);
    }
    for (int axis : {0, -1}) {
      const auto repeated = [axis](const Tensor& t) {
        return t.rank() > 0 && t.numel() > 0 ? repeated_along(t, axis) : t;
      };
      expect_same(gradients(op(), c, same, repeated),
                  gradients(op(), c, same, [&](const Tensor& t) { return ops::copy(repeated(t)); }),
                  "repeated");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Registered, EveryOpLayouts,
                         ::testing::ValuesIn(ops::all_ops().begin(), ops::all_ops().end()),
                         [](const auto& info) { return std::string(info.param->name); });

}  // namespace
}  // namespace reckon::testing
