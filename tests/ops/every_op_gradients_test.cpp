// Every registered op with only some inputs that need a gradient and only some outputs that got one: each
// gradient is the one of the whole. Nothing here names an op.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>

#include "autograd/engine.h"
#include "autograd/node.h"
#include "ops/cast/cast.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

using ops::OpCase;
using ops::OpDef;
using Gradients = std::vector<std::vector<double>>;  // per input, empty where there is none

bool can_have_gradient(const OpCase& c, size_t i) {
  const ops::InputSpec& s = c.inputs[i];
  return !s.optional_absent && !s.no_grad && s.kind != ops::InputKind::index;
}

// Bit i of `inputs`: input i needs a gradient; bit o of `outputs`: the o-th output that carries one gets a seed.
Gradients gradients(const OpDef& op, const OpCase& c, uint64_t inputs, uint64_t outputs,
                    int* n_outputs = nullptr) {
  auto device = make_device(DeviceKind::cpu, 1);
  TensorList in = make_inputs(*device, c, DType::f64, 17);
  for (size_t i = 0; i < in.size(); ++i)
    if ((inputs >> i) & 1u) {
      Tensor own = in[i].detached();
      autograd::set_requires_grad(own);
      in[i] = own;
    }
  TensorList roots, seeds;
  int carrying = 0;
  for (const Tensor& out : ops::call(op, in, c.attrs)) {
    if (!out.requires_grad()) continue;
    if ((outputs >> carrying) & 1u) {
      const OpCase seed{.name = "seed", .inputs = {{.shape = out.shape()}}};
      seeds.push_back(make_inputs(*device, seed, out.dtype(), 100 + static_cast<uint64_t>(carrying))[0]);
      roots.push_back(out);
    }
    ++carrying;
  }
  if (n_outputs) *n_outputs = carrying;
  autograd::backward(roots, seeds);
  Gradients found(in.size());
  for (size_t i = 0; i < in.size(); ++i)
    if ((inputs >> i) & 1u)
      if (const Tensor g = autograd::grad_of(in[i]); g.defined()) found[i] = to_doubles(g);
  return found;
}

// All of them where they are few; else each alone, all but each, and every second one.
std::vector<uint64_t> subsets(uint64_t all) {
  std::vector<uint64_t> found;
  if (std::popcount(all) <= 5) {
    for (uint64_t s = all; s > 0; s = (s - 1) & all) found.push_back(s);
    return found;
  }
  for (int i = 0; i < 64; ++i)
    if ((all >> i) & 1u) {
      found.push_back(uint64_t{1} << i);
      found.push_back(all & ~(uint64_t{1} << i));
    }
  found.push_back(all & 0x5555555555555555u);
  found.push_back(all & 0xaaaaaaaaaaaaaaaau);
  return found;
}

struct EveryOpGradients : ::testing::TestWithParam<const OpDef*> {};

TEST_P(EveryOpGradients, AreTheSameForEachInputAndOutputAlone) {
  const OpDef& op = *GetParam();
  if (op.gradient != ops::Gradient::differentiable) return;
  for (const OpCase& c : op.cases()) {
    uint64_t all = 0;
    for (size_t i = 0; i < c.inputs.size(); ++i)
      if (can_have_gradient(c, i)) all |= uint64_t{1} << i;
    int n_outputs = 0;
    const Gradients whole = gradients(op, c, all, ~uint64_t{0}, &n_outputs);
    std::vector<Gradients> of_output;
    for (int o = 0; o < n_outputs; ++o) of_output.push_back(gradients(op, c, all, uint64_t{1} << o));
    const auto expect_sum = [&](const Gradients& got, uint64_t inputs, uint64_t outputs,
                                const Gradients* want) {
      for (size_t i = 0; i < c.inputs.size(); ++i) {
        const std::string where = fmt::format("{} / {} / gradient {} with inputs {:b} and outputs {:b}",
                                              op.name, c.name, i, inputs, outputs);
        if (!((inputs >> i) & 1u)) {
          EXPECT_TRUE(got[i].empty()) << where;
          continue;
        }
        std::vector<double> sum(whole[i].size());
        for (int o = 0; o < n_outputs && !want; ++o)
          for (size_t e = 0; ((outputs >> o) & 1u) && e < of_output[o][i].size(); ++e)
            sum[e] += of_output[o][i][e];
        if (want) sum = (*want)[i];
        const bool nothing = std::all_of(sum.begin(), sum.end(), [](double v) { return v == 0; });
        if (got[i].empty() && nothing) continue;
        EXPECT_LE(relative_error(got[i], sum), 1e-12) << where;
      }
    };
    expect_sum(whole, all, ~uint64_t{0}, nullptr);
    for (const uint64_t inputs : subsets(all)) {
      expect_sum(gradients(op, c, inputs, ~uint64_t{0}), inputs, ~uint64_t{0}, &whole);
      for (int o = 0; o < n_outputs && n_outputs > 1; ++o)
        expect_sum(gradients(op, c, inputs, uint64_t{1} << o), inputs, uint64_t{1} << o, &of_output[o]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Registered, EveryOpGradients,
                         ::testing::ValuesIn(ops::all_ops().begin(), ops::all_ops().end()),
                         [](const auto& info) { return std::string(info.param->name); });

}  // namespace
}  // namespace reckon::testing
