// AdamW (Loshchilov and Hutter, arXiv:1711.05101, algorithm 2) and Adam with the decay in the gradient, as one
// update and as the steps that the eager form runs.
#include <cmath>

#include "ops/adamw/adamw_attrs.h"
#include "ops/reference.h"

namespace reckon::ops {
namespace {

bool is_set(const HostTensor& flag) { return flag.defined && flag.values[0] != 0; }

HostTensors scale_in_place(const ReferenceCall& c) {
  const HostTensor& x = c.in[scale_in_place_in::target];
  if (is_set(c.in[scale_in_place_in::skip])) return {x};
  return {shaped(x.shape, x.flat() * c.as<StepAttrs>().factor)};
}

// (1 - w) a + w b
HostTensors lerp(const ReferenceCall& c) {
  const HostTensor &a = c.in[lerp_in::target], &b = c.in[lerp_in::to];
  const double w = c.as<StepAttrs>().factor;
  if (is_set(c.in[lerp_in::skip])) return {a};
  return {shaped(a.shape, (1 - w) * a.flat() + w * b.flat())};
}

// (1 - w) a + w b^2
HostTensors lerp_square(const ReferenceCall& c) {
  const HostTensor &a = c.in[lerp_in::target], &b = c.in[lerp_in::to];
  const double w = c.as<StepAttrs>().factor;
  if (is_set(c.in[lerp_in::skip])) return {a};
  return {shaped(a.shape, (1 - w) * a.flat() + w * b.flat().square())};
}

HostTensors scaled_sum(const ReferenceCall& c) {
  const HostTensor &a = c.in[scaled_sum_in::a], &b = c.in[scaled_sum_in::b];
  return {shaped(a.shape, a.flat() + c.as<StepAttrs>().factor * b.flat())};
}

// 1 / sqrt(1 - beta2^n) and -lr / (1 - beta1^n) of update n, the one after those made.
HostTensors adam_factors(const ReferenceCall& c) {
  const AdamWCorrection& t = c.as<AdamFactorsAttrs>().correction;
  const HostTensor& updates = c.in[adam_factors_in::updates];
  const double n = updates.values[0] + 1;
  return {is_set(c.in[adam_factors_in::skip]) ? updates : HostTensor(updates.shape, {n}),
          {{2}, {std::pow(1 - std::pow(t.beta2, n), -0.5), t.lr / (std::pow(t.beta1, n) - 1)}}};
}

// The factor at `which`, where it is not an attribute.
double factor_of(const HostTensor& factors, size_t which, double otherwise) {
  return factors.defined ? factors.values[which] : otherwise;
}

HostTensors adam_denominator(const ReferenceCall& c) {
  const auto& t = c.as<StepAttrs>();
  const double factor = factor_of(c.in[denominator_in::factors], 0, t.factor);
  return {shaped(c.in[0].shape, c.in[0].flat().sqrt() * factor + t.shift)};
}

HostTensors add_quotient(const ReferenceCall& c) {
  const HostTensor &x = c.in[add_quotient_in::target], &above = c.in[add_quotient_in::numerator],
                   &below = c.in[add_quotient_in::denominator];
  if (is_set(c.in[add_quotient_in::skip])) return {x};
  const double factor = factor_of(c.in[add_quotient_in::factors], 1, c.as<StepAttrs>().factor);
  return {shaped(x.shape, x.flat() + factor * above.flat() / below.flat())};
}

HostTensors adamw_all(const ReferenceCall& c) {
  const auto& t = c.as<AdamWAttrs>();
  const AdamWInputs in(c.in.size(), t.counts_updates);
  const HostTensor& scale = c.in[in.grad_scale()];
  HostTensors params, averages, squares, counts;
  for (size_t k = 0; k < in.n_tensors; ++k) {
    const Shape& shape = c.in[in.param(k)].shape;
    Eigen::ArrayXd p = c.in[in.param(k)].flat(), g = c.in[in.grad(k)].flat(), m = c.in[in.exp_avg(k)].flat(),
                   v = c.in[in.exp_avg_sq(k)].flat();
    if (!is_set(c.in[in.skip()])) {
      if (scale.defined) g *= scale.values[0];
      if (t.decays_grad) g += t.grad_decay * p;
      if (t.decays_param) p *= t.param_factor;
      m = (1 - t.weight1) * m + t.weight1 * g;
      v = (1 - t.weight2) * v + t.weight2 * g.square();
      double n = 0;
      if (t.counts_updates) {
        n = c.in[in.updates(k)].values[0] + 1;
        counts.push_back({{1}, {n}});
      }
      const double root =
                       t.counts_updates ? 1 / std::sqrt(1 - std::pow(t.correction.beta2, n)) : t.factors.root,
                   step = t.counts_updates ? -t.correction.lr / (1 - std::pow(t.correction.beta1, n))
                                           : t.factors.minus_step;
      p += step * m / (v.sqrt() * root + t.eps);
    } else if (t.counts_updates) {
      counts.push_back(c.in[in.updates(k)]);
    }
    params.push_back(shaped(shape, p));
    averages.push_back(shaped(shape, m));
    squares.push_back(shaped(shape, v));
  }
  HostTensors out = params;
  out.insert(out.end(), averages.begin(), averages.end());
  out.insert(out.end(), squares.begin(), squares.end());
  out.insert(out.end(), counts.begin(), counts.end());
  return out;
}

// One number p with gradient g and moments m, v, and what they become.
struct Number {
  double p, g, m, v;
};
OpValues update(std::string name, AdamWSettings settings, Number before, Number after, std::string source,
                HostTensor scale = {}, HostTensor skip = {}) {
  const auto one = [](double x) { return HostTensor({1}, {x}); };
  return {.name = std::move(name),
          .inputs = {one(before.p), one(before.g), one(before.m), one(before.v), scale, skip},
          .attrs = std::make_shared<AdamWAttrs>(settings),
          .outputs = {one(after.p), one(after.m), one(after.v)},
          .source = std::move(source)};
}

std::vector<OpValues> updates() {
  const AdamWSettings first{.lr = 0.1, .eps = 0, .weight_decay = 0.1};
  AdamWSettings second = first, l2 = first, damped = first;
  second.step = 2;
  l2.weight_decay = 0.25;
  l2.decoupled = false;
  damped.weight_decay = 0;
  damped.eps = 0.5;
  const std::string rest =
      "from rest the corrected moments are g and g^2, so that without eps the step is lr sign(g); ";
  OpValues late = update("a first update after others", first, {1, 0.5, 0, 0}, {0.89, 0, 0.05, 0.00025},
                         rest + "none was made before, whatever the number of the training step");
  late.attrs = std::make_shared<AdamWAttrs>(first, true);
  late.inputs.insert(late.inputs.begin() + 4, HostTensor({1}, {0}));
  late.outputs.push_back({{1}, {1}});
  OpValues uncounted = update("skipped and not counted", first, {1, 2, 3, 4}, {1, 2, 3, 4},
                              "a set skip flag leaves the count too", {}, HostTensor({1}, {1}));
  uncounted.attrs = late.attrs;
  uncounted.inputs.insert(uncounted.inputs.begin() + 4, HostTensor({1}, {6}));
  uncounted.outputs.push_back({{1}, {6}});
  return {
      late,
      uncounted,
      update("first step", first, {1, 0.5, 0, 0}, {0.89, 0, 0.05, 0.00025},
             rest + "p = 1 (1 - 0.1 0.1) - 0.1, m = 0.1 g, v = 0.001 g^2"),
      update("second step, same gradient", second, {0.89, 0.5, 0.05, 0.00025}, {0.7811, 0, 0.095, 0.00049975},
             "m = 0.9 0.05 + 0.1 0.5 and m / (1 - 0.9^2) = 0.5 again, likewise v: p = 0.89 0.99 - 0.1"),
      update("decay in the gradient", l2, {2, 0.5, 0, 0}, {1.9, 0, 0.1, 0.001}, rest + "g = 0.5 + 0.25 2 = 1"),
      update("eps", damped, {1, 0.5, 0, 0}, {0.95, 0, 0.05, 0.00025}, "p = 1 - 0.1 0.5 / (0.5 + 0.5)"),
      update("scaled gradient", first, {1, 2, 0, 0}, {0.89, 0, 0.05, 0.00025},
             "2 0.25 is the gradient of the first step", HostTensor({1}, {0.25})),
      update("skipped", first, {1, 2, 3, 4}, {1, 2, 3, 4}, "a set skip flag leaves everything as it is", {},
             HostTensor({1}, {1}))};
}

}  // namespace

std::vector<OpReference> adamw_references() {
  const std::vector<const char*> steps = {"ops/adamw_5steps.safetensors"};
  return {{.op = "scale_in_place", .compute = scale_in_place, .golden = steps},
          {.op = "lerp_in_place", .compute = lerp, .golden = steps},
          {.op = "lerp_square_in_place", .compute = lerp_square, .golden = steps},
          {.op = "scaled_sum", .compute = scaled_sum, .golden = {"ops/adam_l2_5steps.safetensors"}},
          {.op = "adam_factors",
           .compute = adam_factors,
           .values = {{.name = "first update",
                       .inputs = {{{1}, {0}}, {}},
                       .attrs = std::make_shared<AdamFactorsAttrs>(
                           AdamWSettings{.lr = 0.1, .beta1 = 0.9, .beta2 = 0.75}),
                       .outputs = {{{1}, {1}}, {{2}, {2, -1}}},
                       .source = "1 / sqrt(1 - 0.75) = 2, 0.1 / (1 - 0.9) = 1"}}},
          {.op = "adam_denominator", .compute = adam_denominator, .golden = steps},
          {.op = "add_quotient_in_place", .compute = add_quotient, .golden = steps},
          {.op = "adamw_all", .compute = adamw_all, .values = updates(), .golden = steps}};
}

}  // namespace reckon::ops
