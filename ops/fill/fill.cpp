#include "ops/fill/fill.h"

#include <cmath>

#include "ops/rules.h"
#include "runtime/core/element.h"

namespace reckon::ops {
namespace {

void store(const TensorArg& t, int64_t i, double v) {
  RECKON_CHECK(t.dtype != DType::f8e4m3 && t.dtype != DType::f8e5m2, "fill of {} is not offered",
               name_of(t.dtype));
  store_element(t.data, t.dtype, i, v);
}

void fill_kernel(KernelArgs& a) {
  a.launch(0);
  const double v = a.as<FillAttrs>().value;
  const int64_t n = a.out[0].numel();
  for (int64_t i = 0; i < n; ++i) store(a.out[0], i, v);
}

// One counter per element.
double draw(const RandomAttrs& t, uint64_t element) {
  for (uint64_t attempt = 0;; ++attempt) {
    const PhiloxBlock block = t.random(element + (attempt << kRedrawBits));
    if (t.distribution == Distribution::uniform)
      return t.mean + t.spread * (2.0 * uniform_open(block[0]) - 1.0);
    const double z = normal_pair(uniform_open(block[0]), uniform_open(block[1]))[0];
    if (t.distribution == Distribution::normal || std::fabs(z) <= kTruncation) return t.mean + t.spread * z;
  }
}

void random_kernel(KernelArgs& a) {
  a.launch(0);
  const auto& t = a.as<RandomAttrs>();
  constexpr int64_t kAlone = 4096;  // so few are drawn before other threads have woken up
  const int64_t n = a.out[0].numel();
#pragma omp parallel for schedule(static) num_threads(a.threads) if (n > kAlone)
  for (int64_t i = 0; i < n; ++i) store(a.out[0], i, draw(t, static_cast<uint64_t>(i)));
}

void causal_kernel(KernelArgs& a) {
  a.launch(0);
  const double v = a.as<FillAttrs>().value;
  const TensorArg& t = a.out[0];
  const int64_t k = t.shape[t.rank - 1], q = t.shape[t.rank - 2], n = t.numel();
  for (int64_t i = 0; i < n; ++i) store(t, i, i % k <= i / k % q + k - q ? 0.0 : v);
}

Plan plan_in_place(const PlanContext& c, const char* name, LaunchKind kind) {
  Plan p;
  p.outputs = {{.shape = c.in[0].shape(), .dtype = c.in[0].dtype(), .alias_of = 0, .writes = true}};
  p.launches = {{name, kind}};
  p.cost.bytes_written = static_cast<int64_t>(c.in[0].bytes());
  return p;
}

const OpDef fill_op{
    .name = "fill",
    .plan = [](const PlanContext& c) { return plan_in_place(c, "fill", LaunchKind::fill); },
    .kernels = one_kernel(fill_kernel),
    .gradient = Gradient::none,
    .gradient_note = "overwrites its target with a constant",
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "constant", .inputs = {normal({3, 5})}, .attrs = std::make_shared<FillAttrs>(0.5)}};
        }};

const OpDef causal_op{
    .name = "fill_causal",
    .plan =
        [](const PlanContext& c) {
          check_rank_at_least(c.in[0], 2, "a causal mask");
          return plan_in_place(c, "fill_causal", LaunchKind::fill);
        },
    .kernels = one_kernel(causal_kernel),
    .gradient = Gradient::none,
    .gradient_note = "overwrites its target with a constant mask",
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "square", .inputs = {normal({5, 5})}, .attrs = std::make_shared<FillAttrs>(-8.0)},
              {.name = "more keys", .inputs = {normal({2, 3, 5})}, .attrs = std::make_shared<FillAttrs>(-8.0)}};
        }};

const OpDef random_op{
    .name = "fill_random",
    .plan = [](const PlanContext& c) { return plan_in_place(c, "fill_random", LaunchKind::fill); },
    .kernels = one_kernel(random_kernel),
    .gradient = Gradient::none,
    .gradient_note = "overwrites its target with random numbers",
    .cases =
        [] {
          std::vector<OpCase> cases;
          for (Distribution d : {Distribution::uniform, Distribution::normal, Distribution::truncated_normal}) {
            auto attrs = std::make_shared<RandomAttrs>();
            attrs->distribution = d;
            attrs->random = {7, 3};
            cases.push_back({.name = "matrix", .inputs = {normal({30, 5})}, .attrs = attrs});
          }
          return cases;
        }};

}  // namespace

void fill(const Tensor& t, double value) {
  dispatch(fill_op, std::span<const Tensor>(&t, 1), std::make_shared<FillAttrs>(value));
}

void fill_causal(const Tensor& t, double value) {
  dispatch(causal_op, std::span<const Tensor>(&t, 1), std::make_shared<FillAttrs>(value));
}

void fill_random(const Tensor& t, Distribution d, double mean, double spread, uint64_t seed, uint64_t stream) {
  auto attrs = std::make_shared<RandomAttrs>();
  attrs->distribution = d;
  attrs->mean = mean;
  attrs->spread = spread;
  attrs->random = {seed, stream};
  dispatch(random_op, std::span<const Tensor>(&t, 1), attrs);
}

Tensor full(Device& device, const Shape& shape, DType dtype, double value, Category category,
            std::string_view label) {
  Tensor t = Tensor::empty(device, shape, dtype, category, label);
  fill(t, value);
  return t;
}

std::vector<const OpDef*> fill_ops() { return {&fill_op, &causal_op, &random_op}; }

}  // namespace reckon::ops
