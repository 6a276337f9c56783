#include "ops/mse_loss/mse_loss.h"

#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/mse_loss/mse_loss_kernel.h"
#include "ops/rules.h"

namespace reckon::ops {
namespace {

void check_operands(const PlanContext& c, const Tensor& x, const Tensor& target) {
  check_floating(x, "mse_loss's input");
  check_floating(target, "mse_loss's target");
  check_shape(target, x.shape(), "mse_loss's target");
  for (const Tensor& t : c.in)
    RECKON_CHECK(t.contiguous(), "mse_loss needs contiguous tensors, got {} with strides {}", describe(t),
                 to_string(t.strides()));
}

// FLOPs per element: a difference and a square, reduced also an addition; the mean divides once.
Plan plan_mse_loss(const PlanContext& c) {
  const Reduction r = c.as<MseAttrs>().reduction;
  const Tensor& x = c.in[mse_loss_in::x];
  check_operands(c, x, c.in[mse_loss_in::target]);
  const DType t = accumulation_dtype(promoted_dtype(c));
  const bool reduced = r != Reduction::none;
  Plan p;
  p.outputs = {{.shape = reduced ? Shape{} : x.shape(), .dtype = t, .label = "loss"}};
  p.launches = {{"mse_loss"}};
  if (reduced) {
    const int64_t pieces = std::max<int64_t>((x.numel() + kMsePiece - 1) / kMsePiece, 1);
    p.workspaces = {{"sums of pieces", static_cast<size_t>(pieces) * size_of(t)}};
    p.launches.push_back({"mse_loss_reduce"});
  }
  p.saves = {{false, mse_loss_in::x}, {false, mse_loss_in::target}};
  p.cost.vector_flops = checked_multiply(x.numel(), 2 + reduced, "FLOPs") + (r == Reduction::mean);
  set_traffic(p, c);
  return p;
}

// FLOPs per element: 2 with a reduction, whose scale costs 1 (mean: 2); 3 without.
Plan plan_mse_loss_backward(const PlanContext& c) {
  const Reduction r = c.as<MseAttrs>().reduction;
  const Tensor& x = c.in[mse_loss_backward_in::x];
  check_operands(c, x, c.in[mse_loss_backward_in::target]);
  const bool reduced = r != Reduction::none;
  check_shape(c.in[mse_loss_backward_in::g], reduced ? Shape{} : x.shape(), "mse_loss's output gradient");
  Plan p;
  p.outputs = {{.shape = x.shape(), .dtype = x.dtype(), .label = "dx"}};
  p.launches = {{"mse_loss_backward"}};
  p.cost.vector_flops =
      checked_multiply(x.numel(), reduced ? 2 : 3, "FLOPs") + reduced + (r == Reduction::mean);
  set_traffic(p, c);
  return p;
}

const OpDef mse_loss_backward_op{
    .name = "mse_loss_backward",
    .plan = plan_mse_loss_backward,
    .kernels = mse_loss_backward_kernels,
    .gradient = Gradient::none,
    .gradient_note = "second derivatives are not offered",
    .cases = [] {
      std::vector<OpCase> cases;
      for (Reduction r : {Reduction::none, Reduction::sum, Reduction::mean})
        cases.push_back({.name = "matrix",
                         .inputs = {normal(r == Reduction::none ? Shape{5, 130} : Shape{}), normal({5, 130}),
                                    normal({5, 130})},
                         .attrs = std::make_shared<MseAttrs>(r)});
      return cases;
    }};

TensorList mse_loss_backward(BackwardContext& c) {
  TensorList out(mse_loss_in::n_inputs);
  const Tensor dx = call(mse_loss_backward_op, {contiguous(c.grads[0]), c.saved[0], c.saved[1]},
                         std::make_shared<MseAttrs>(c.as<MseAttrs>().reduction))[0];
  if (c.needs(mse_loss_in::x)) out[mse_loss_in::x] = dx;
  if (c.needs(mse_loss_in::target)) out[mse_loss_in::target] = scale(dx, -1.0);
  return out;
}

const OpDef mse_loss_op{
    .name = "mse_loss",
    .fingerprint = fingerprint_by<&MseAttrs::reduction>,
    .plan = plan_mse_loss,
    .kernels = mse_loss_kernels,
    .gradient = Gradient::differentiable,
    .backward = mse_loss_backward,
    .precision = Precision::fp32,
    .cases = [] {
      std::vector<OpCase> cases;
      for (Reduction r : {Reduction::none, Reduction::sum, Reduction::mean}) {
        const auto attrs = std::make_shared<MseAttrs>(r);
        cases.push_back({.name = "matrix", .inputs = {normal({3, 37}), normal({3, 37})}, .attrs = attrs});
        cases.push_back({.name = "one number", .inputs = {normal({}), normal({})}, .attrs = attrs});
      }
      // Several pieces of the sum. The gradient check would drown in the rounding
      // of 20000 terms, hence the mean.
      cases.push_back({.name = "pieces",
                       .inputs = {normal({20, 1000}), normal({20, 1000})},
                       .attrs = std::make_shared<MseAttrs>(Reduction::mean)});
      return cases;
    }};

}  // namespace

Tensor mse_loss(const Tensor& x, const Tensor& target, Reduction reduction) {
  return call(mse_loss_op, {contiguous(x), contiguous(target)}, std::make_shared<MseAttrs>(reduction))[0];
}

std::vector<const OpDef*> mse_loss_ops() { return {&mse_loss_op, &mse_loss_backward_op}; }

}  // namespace reckon::ops
