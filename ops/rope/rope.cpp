#include "ops/rope/rope.h"

#include "ops/cast/cast.h"
#include "ops/rope/rope_kernel.h"
#include "ops/rules.h"

namespace reckon::ops {
namespace {

// FLOPs: D/2 frequencies (1 and one exp), P D/2 angles (1, one cos and one sin), 6 per pair of x. The table of
// cosines and sines is f32 (f64 for f64), 2 (D/2) P numbers.
Plan plan_rope(const PlanContext& c) {
  const Tensor &x = c.in[rope_in::x], &positions = c.in[rope_in::positions];
  check_floating(x, "rope's input");
  RECKON_CHECK(x.rank() == 4 && x.size(3) % 2 == 0 && x.size(3) > 0,
               "rope needs [B, S, heads, D] with an even D, got {}", describe(x));
  RECKON_CHECK(positions.defined() && positions.dtype() == DType::i64 &&
                   (positions.shape() == Shape{x.size(1)} || positions.shape() == Shape{x.size(0), x.size(1)}),
               "rope's positions must be i64 [S] or [B, S] for {}, got {} (is x laid out as [B, heads, S, D]?)",
               describe(x), describe(positions));
  RECKON_CHECK(x.contiguous() && positions.contiguous(), "rope needs contiguous tensors, got strides {} and {}",
               to_string(x.strides()), to_string(positions.strides()));
  const int64_t half = x.size(3) / 2, n = positions.numel();
  Plan p;
  p.outputs = {{.shape = x.shape(), .dtype = x.dtype()}};
  const size_t entry = x.dtype() == DType::f64 ? sizeof(double) : sizeof(float);
  p.workspaces = {{"frequencies", static_cast<size_t>(half) * sizeof(double)},
                  {"cosines and sines", static_cast<size_t>(2 * half * std::max<int64_t>(n, 1)) * entry}};
  p.launches = {{"rope_table"}, {"rope"}};
  p.saves = {{false, rope_in::positions}};
  p.cost.vector_flops = half + n * half + checked_multiply(x.numel(), 3, "FLOPs");
  p.cost.special = half + 2 * n * half;
  set_traffic(p, c);
  return p;
}

// The GPU's kernel draws its cosines and sines where it needs them.
void plan_rope_gpu(const PlanContext&, Plan& p) {
  p.workspaces = {};
  p.launches = {{"rope"}};
}

extern const OpDef rope_op;

TensorList rope_backward(BackwardContext& c) {
  const auto& a = c.as<RopeAttrs>();
  return {call(rope_op, {contiguous(c.grads[0]), c.saved[0]},
               std::make_shared<RopeAttrs>(a.log_theta, !a.inverse))[0],
          Tensor{}};
}

const OpDef rope_op{
    .name = "rope",
    .fingerprint = fingerprint_by<&RopeAttrs::log_theta, &RopeAttrs::inverse>,
    .plan = plan_rope,
    .kernels = rope_kernels,
    .gradient = Gradient::differentiable,
    .backward = rope_backward,
    .recompute = Recompute::cheap,
    .cases =
        [] {
          const auto attrs = [](double theta, bool inverse) {
            return std::make_shared<RopeAttrs>(std::log(theta), inverse);
          };
          return std::vector<OpCase>{
              {.name = "positions of the batch",
               .inputs = {normal({2, 9, 3, 8}), index({2, 9}, 40)},
               .attrs = attrs(1e4, false)},
              {.name = "shared positions",
               .inputs = {normal({3, 5, 2, 6}), index({5}, 100000)},
               .attrs = attrs(1e6, false)},
              {.name = "inverse",
               .inputs = {normal({1, 7, 1, 66}), index({7}, 3000)},
               .attrs = attrs(1e6, true)},
              {.name = "one pair", .inputs = {normal({2, 3, 4, 2}), index({3}, 9)}, .attrs = attrs(1e4, false)},
              {.name = "many pairs",
               .inputs = {normal({1, 3, 2, 600}), index({3}, 9)},
               .attrs = attrs(1e4, false)}};
        },
    .gpu_plan = plan_rope_gpu};

}  // namespace

Tensor rope(const Tensor& x, const Tensor& positions, double theta) {
  RECKON_CHECK(theta > 0, "rope's theta must be positive, got {}", theta);
  return call(rope_op, {contiguous(x), contiguous(positions)},
              std::make_shared<RopeAttrs>(std::log(theta), false))[0];
}

std::vector<const OpDef*> rope_ops() { return {&rope_op}; }

}  // namespace reckon::ops
