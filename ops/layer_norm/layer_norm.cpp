#include "ops/layer_norm/layer_norm.h"

#include "ops/cast/cast.h"
#include "ops/kernel/plan/norm_pieces.h"
#include "ops/layer_norm/layer_norm_kernel.h"
#include "ops/rules.h"
#include "ops/sum/sum.h"

namespace reckon::ops {
namespace {

// FLOPs per row of c elements: mean c + 1, squares 3c, reciprocal root 3 and one special, (x
// - mean) rstd 2c, weight c, bias c.
Plan plan_layer_norm(const PlanContext& c) {
  const Tensor &x = c.in[layer_norm_in::x], &w = c.in[layer_norm_in::weight], &b = c.in[layer_norm_in::bias];
  check_rank_at_least(x, 1, "layer_norm's input");
  check_floating(x, "layer_norm's input");
  if (w.defined()) check_shape(w, {x.size(-1)}, "layer_norm's weight");
  if (b.defined()) check_shape(b, {x.size(-1)}, "layer_norm's bias");
  const int64_t width = x.size(-1), rows = rows_of(x);
  const Shape per_row = x.shape().slice(0, x.rank() - 1);
  const DType s = accumulation_dtype(x.dtype());
  Plan p;
  p.outputs = {{.shape = x.shape(), .dtype = x.dtype()},
               {.shape = per_row, .dtype = s, .label = "mean", .differentiable = false},
               {.shape = per_row, .dtype = s, .label = "rstd", .differentiable = false}};
  p.launches = {{"layer_norm"}};
  const bool dx = c.needs(layer_norm_in::x), dweight = c.needs(layer_norm_in::weight) && w.defined();
  if (dx || dweight) p.saves = {{false, layer_norm_in::x}, {true, 1}, {true, 2}};
  if (dx && w.defined()) p.saves.push_back({false, layer_norm_in::weight});
  p.cost.vector_flops = rows * (width * (6 + w.defined() + b.defined()) + 4);
  p.cost.special = rows;
  set_traffic(p, c);
  return p;
}

// FLOPs per row: dx 9c + 6, and 2c with a weight; dweight 4c; dbias c.
Plan plan_layer_norm_backward(const PlanContext& c) {
  const auto& a = c.as<LayerNormBackwardAttrs>();
  const Tensor &g = c.in[layer_norm_backward_in::g], &x = c.in[layer_norm_backward_in::x],
               &w = c.in[layer_norm_backward_in::weight];
  check_shape(g, x.shape(), "layer_norm's output gradient");
  RECKON_CHECK(a.dx || a.dweight || a.dbias, "layer_norm_backward was asked for no gradient");
  const int64_t width = x.size(-1), rows = rows_of(x);
  const DType parameter = w.defined() ? w.dtype() : accumulation_dtype(x.dtype());
  Plan p;
  if (a.dx) p.outputs.push_back({.shape = x.shape(), .dtype = x.dtype(), .label = "dx"});
  if (a.dweight) p.outputs.push_back({.shape = {width}, .dtype = parameter, .label = "dweight"});
  if (a.dbias) p.outputs.push_back({.shape = {width}, .dtype = parameter, .label = "dbias"});
  p.launches = {{"layer_norm_backward"}};
  const int64_t n_sums = a.dweight + a.dbias;
  if (n_sums > 0) {
    const int64_t pieces = std::max<int64_t>(layer_norm_pieces(rows), 1);
    p.workspaces = {{"sums of row pieces",
                     static_cast<size_t>(pieces * n_sums * width) * size_of(accumulation_dtype(x.dtype()))}};
    p.launches.push_back({"layer_norm_parameters"});
  }
  const int64_t per_dx = a.dx ? width * (9 + 2 * w.defined()) + 6 : 0;
  p.cost.vector_flops = rows * (per_dx + width * (4 * a.dweight + a.dbias));
  set_traffic(p, c);
  return p;
}

void plan_layer_norm_backward_gpu(const PlanContext& c, Plan& p) {
  const auto& a = c.as<LayerNormBackwardAttrs>();
  const Tensor& x = c.in[layer_norm_backward_in::x];
  const int64_t n_sums = a.dweight + a.dbias, pieces = norm_gpu_pieces(rows_of(x), x.size(-1));
  if (n_sums > 0)
    p.workspaces = {{"sums of row pieces", static_cast<size_t>(pieces * n_sums * x.size(-1)) * sizeof(float)}};
}

const OpDef layer_norm_backward_op{
    .name = "layer_norm_backward",
    .plan = plan_layer_norm_backward,
    .kernels = layer_norm_backward_kernels,
    .gradient = Gradient::none,
    .gradient_note = "second derivatives are not offered",
    .cases =
        [] {
          const auto inputs = [](int64_t rows, int64_t width, bool weighted) {
            InputSpec mean = normal({rows}), rstd = positive({rows});
            mean.fixed_f32 = rstd.fixed_f32 = true;
            return std::vector<InputSpec>{normal({rows, width}), normal({rows, width}),
                                          weighted ? normal({width}) : absent(), mean, rstd};
          };
          const auto asked = [](bool x, bool w, bool b) {
            return std::make_shared<LayerNormBackwardAttrs>(x, w, b);
          };
          return std::vector<OpCase>{
              {.name = "all", .inputs = inputs(5, 70, true), .attrs = asked(true, true, true)},
              {.name = "several tiles and pieces",
               .inputs = inputs(70, 521, true),
               .attrs = asked(true, true, true)},
              {.name = "no weight", .inputs = inputs(3, 33, false), .attrs = asked(true, false, false)},
              {.name = "narrow rows", .inputs = inputs(77, 20, true), .attrs = asked(true, true, true)},
              {.name = "rows of 64", .inputs = inputs(35, 64, true), .attrs = asked(true, true, true)},
              {.name = "rows of 128", .inputs = inputs(37, 128, true), .attrs = asked(true, true, true)},
              {.name = "rows of 200", .inputs = inputs(19, 200, true), .attrs = asked(true, true, true)},
              {.name = "wide rows", .inputs = inputs(18, 1028, true), .attrs = asked(true, true, true)},
              {.name = "parameters only", .inputs = inputs(40, 9, true), .attrs = asked(false, true, true)},
              {.name = "input and bias", .inputs = inputs(4, 6, true), .attrs = asked(true, false, true)}};
        },
    .gpu_plan = plan_layer_norm_backward_gpu};

TensorList layer_norm_backward(BackwardContext& c) {
  const bool dx = c.needs(layer_norm_in::x), dweight = c.needs(layer_norm_in::weight),
             dbias = c.needs(layer_norm_in::bias);
  TensorList out(layer_norm_in::n_inputs);
  const Tensor g = contiguous(c.grads[0]);
  c.grads[0] = {};
  if (!dx && !dweight) {
    out[layer_norm_in::bias] = sum(g.reshaped({rows_of(g), g.size(-1)}), {0});
    return out;
  }
  const Tensor weight = c.saved.size() > 3 ? c.saved[3] : Tensor{};
  const TensorList made = call(layer_norm_backward_op, {g, c.saved[0], weight, c.saved[1], c.saved[2]},
                               std::make_shared<LayerNormBackwardAttrs>(dx, dweight, dbias));
  size_t next = 0;
  for (int i = 0; i < layer_norm_in::n_inputs; ++i)
    if (c.needs(i)) out[static_cast<size_t>(i)] = made[next++];
  return out;
}

const OpDef layer_norm_op{
    .name = "layer_norm",
    .fingerprint = fingerprint_by<&LayerNormAttrs::eps>,
    .plan = plan_layer_norm,
    .kernels = layer_norm_kernels,
    .gradient = Gradient::differentiable,
    .backward = layer_norm_backward,
    .precision = Precision::fp32,
    .recompute = Recompute::cheap,
    .cases = [] {
      const auto attrs = std::make_shared<LayerNormAttrs>(1e-5);
      return std::vector<OpCase>{
          {.name = "one tile", .inputs = {normal({2, 3, 8}), normal({8}), normal({8})}, .attrs = attrs},
          {.name = "several tiles",
           .inputs = {normal({3, 1100}), normal({1100}), normal({1100})},
           .attrs = attrs},
          {.name = "rows of 128", .inputs = {normal({37, 128}), normal({128}), normal({128})}, .attrs = attrs},
          {.name = "rows of 200", .inputs = {normal({19, 200}), normal({200}), normal({200})}, .attrs = attrs},
          {.name = "wide rows", .inputs = {normal({2, 2052}), normal({2052}), normal({2052})}, .attrs = attrs},
          {.name = "several pieces", .inputs = {normal({70, 19}), normal({19}), normal({19})}, .attrs = attrs},
          {.name = "neither weight nor bias", .inputs = {normal({4, 33}), absent(), absent()}, .attrs = attrs},
          {.name = "weight only", .inputs = {normal({4, 33}), normal({33}), absent()}, .attrs = attrs},
          {.name = "bias only", .inputs = {normal({4, 33}), absent(), normal({33})}, .attrs = attrs},
          {.name = "vector", .inputs = {normal({65}), normal({65}), normal({65})}, .attrs = attrs}};
    }};

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  return call(layer_norm_op, {x, weight, bias}, std::make_shared<LayerNormAttrs>(eps))[0];
}

std::vector<const OpDef*> layer_norm_ops() { return {&layer_norm_op, &layer_norm_backward_op}; }

}  // namespace reckon::ops
