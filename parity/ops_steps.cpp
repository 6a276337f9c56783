// Optimizers, clipping, schedules, casts and loss scaling: no gradients, states compared after every step.
#include <algorithm>
#include <cmath>

#include "autograd/fusion.h"
#include "models/train/schedule.h"
#include "ops/adamw/adamw.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/fill/fill.h"
#include "ops/grad_norm/grad_norm.h"
#include "ops/grad_scaler/grad_scaler.h"
#include "ops/sgd/sgd.h"
#include "parity/ops_cases.h"

namespace reckon::parity {
namespace {

using autograd::fuses;
using autograd::Fusion;

struct Stepper {
  OpRun& r;
  std::vector<Tensor> params, grads, first, second;

  explicit Stepper(OpRun& run) : r(run) {
    r.tolerance.value = r.f64 ? 1e-13 : r.f32 ? 1e-6 : r.tolerance.value;
    for (int i = 0; r.file.has(fmt::format("in.param{}", i)); ++i) {
      params.push_back(
          r.file.upload(fmt::format("in.param{}", i), r.file.settings().dtype, Category::parameter));
      for (auto* state : {&first, &second})
        state->push_back(ops::full(r.file.device(), params.back().shape(), params.back().dtype(), 0,
                                   Category::optimizer, "state"));
    }
    RECKON_CHECK(!params.empty(), "the file has no in.param0");
  }
  bool load(int step) {
    if (!r.file.has(fmt::format("in.step{}.grad0", step))) return false;
    grads.clear();
    for (size_t i = 0; i < params.size(); ++i)
      grads.push_back(r.file.upload(fmt::format("in.step{}.grad{}", step, i), r.file.settings().dtype));
    return true;
  }
  void compare(int step, const char* name, const std::vector<Tensor>& tensors) {
    for (size_t i = 0; i < tensors.size(); ++i) {
      const std::string full = fmt::format("out.step{}.{}{}", step, name, i);
      if (r.file.has(full)) r.file.compare(full, tensors[i], r.tolerance);
    }
  }
};

void adam(OpRun& r, bool decoupled) {
  Stepper s(r);
  ops::AdamWSettings settings{.lr = r.number("lr"),
                              .beta1 = r.attrs.at("betas").at(0),
                              .beta2 = r.attrs.at("betas").at(1),
                              .eps = r.number("eps"),
                              .weight_decay = r.number("weight_decay")};
  settings.decoupled = decoupled;
  for (int step = 0; s.load(step); ++step) {
    settings.step = step + 1;
    if (fuses(Fusion::adamw)) {
      ops::adamw_all(s.params, s.grads, s.first, s.second, settings);
    } else {
      for (size_t i = 0; i < s.params.size(); ++i)
        ops::adamw_eager(s.params[i], s.grads[i], s.first[i], s.second[i], settings);
    }
    s.compare(step, "param", s.params);
    s.compare(step, "exp_avg", s.first);
    s.compare(step, "exp_avg_sq", s.second);
  }
}

void sgd(OpRun& r) {
  Stepper s(r);
  ops::SgdSettings settings{.lr = r.number("lr"),
                            .momentum = r.number("momentum"),
                            .dampening = r.number("dampening"),
                            .weight_decay = r.number("weight_decay"),
                            .nesterov = r.flag("nesterov")};
  for (int step = 0; s.load(step); ++step) {
    settings.step = step + 1;
    for (size_t i = 0; i < s.params.size(); ++i) ops::sgd(s.params[i], s.grads[i], s.first[i], settings);
    s.compare(step, "param", s.params);
    s.compare(step, "momentum_buffer", s.first);
  }
}

void clip(OpRun& r) {
  RECKON_CHECK(r.number("norm_type") == 2, "cannot run: only the 2-norm clips here, the file asks for {}",
               r.number("norm_type"));
  std::vector<Tensor> grads;
  for (int i = 0; r.file.has(fmt::format("in.grad{}", i)); ++i)
    grads.push_back(r.file.upload(fmt::format("in.grad{}", i), r.file.settings().dtype));
  const Tensor norm = fuses(Fusion::adamw) ? ops::grad_norm(grads) : ops::grad_norm_eager(grads);
  ops::scale_all_(grads, ops::clip_coefficient(norm, r.number("max_norm")));
  r.file.compare("out.total_norm", norm.reshaped({}), r.tolerance);
  for (size_t i = 0; i < grads.size(); ++i) r.file.compare(fmt::format("out.grad{}", i), grads[i], r.tolerance);
}

void schedule(OpRun& r, models::Schedule::Kind kind) {
  models::Schedule s{kind, r.number("lr"), r.integer("warmup_steps"), r.integer("total_steps")};
  if (r.attrs.contains("num_cycles")) s.cycles = r.number("num_cycles");
  std::vector<double> lr(static_cast<size_t>(numel(r.file.shape("out.lr"))));
  for (size_t i = 0; i < lr.size(); ++i) lr[i] = s.at(static_cast<int64_t>(i));
  r.file.compare_values("out.lr", lr, {Measure::largest, 1e-13});  // computed in double whatever the run's type
}

// Compares bits: the values of the 16-bit types say them all but for the sign of a zero and of a
// NaN, so signs are compared too.
std::vector<double> with_signs(std::vector<double> v) {
  const size_t n = v.size();
  for (size_t i = 0; i < n; ++i) v.push_back(std::signbit(v[i]) && !std::isnan(v[i]) ? 1 : 0);
  return v;
}

void casts(OpRun& r) {
  const Tensor x = r.file.upload("in.x", DType::f32);
  for (const auto& [name, type] : {std::pair{"bf16", DType::bf16}, {"f16", DType::f16}}) {
    const Tensor low = ops::cast(x, type);
    for (const auto& [tensor, got] : {std::pair{fmt::format("out.{}", name), low},
                                      {fmt::format("out.{}_as_f32", name), ops::cast(low, DType::f32)}}) {
      if (!r.file.has(tensor)) continue;
      r.file.use(tensor);
      if (r.file.executes())
        r.file.report().check(
            tensor, distance(Measure::exact, with_signs(to_doubles(got)), with_signs(r.file.values(tensor))),
            0);
    }
  }
}

void grad_scaler(OpRun& r) {
  Device& device = r.file.device();
  Tensor scale = ops::full(device, {1}, DType::f32, r.number("init_scale"));
  Tensor tracker = ops::full(device, {1}, DType::i64, 0);
  const Tensor one = ops::full(device, {1}, DType::f32, 1);
  r.file.use("in.found_inf");
  std::vector<double> scales, trackers, inverses, taken;
  for (double found : r.file.values("in.found_inf")) {
    inverses.push_back(to_doubles(ops::div(one, scale)).at(0));
    const Tensor gradient =
        r.file.upload_values({1, found != 0 ? INFINITY : 2, 3}, {3}, DType::f32, "gradient");
    const Tensor flag = ops::non_finite(std::span<const Tensor>(&gradient, 1));
    taken.push_back(to_doubles(flag).at(0) == 0 ? 1 : 0);
    ops::scaler_update(scale, tracker, flag, r.number("growth_factor"), r.number("backoff_factor"),
                       r.integer("growth_interval"));
    scales.push_back(to_doubles(scale).at(0));
    trackers.push_back(to_doubles(tracker).at(0));
  }
  r.file.compare_values("out.step_taken", taken, {Measure::exact, 0});
  r.file.compare_values("out.scale", scales, {Measure::exact, 0});
  r.file.compare_values("out.growth_tracker", trackers, {Measure::exact, 0});
  r.file.compare_values("out.inv_scale_used", inverses, {Measure::elementwise, 1e-7});  // f32 against f64
}

constexpr NamedRunner kRunners[] = {
    {"adamw", [](OpRun& r) { adam(r, true); }},
    {"adam_l2", [](OpRun& r) { adam(r, false); }},
    {"sgd", sgd},
    {"clip_grad_norm", clip},
    {"lr_cosine_warmup", [](OpRun& r) { schedule(r, models::Schedule::Kind::cosine); }},
    {"lr_linear_warmup", [](OpRun& r) { schedule(r, models::Schedule::Kind::linear); }},
    {"cast_f32", casts},
    {"grad_scaler", grad_scaler},
};

}  // namespace

std::span<const NamedRunner> step_runners() { return kRunners; }

}  // namespace reckon::parity
