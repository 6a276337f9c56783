#include "ops/norm_linear/norm_linear.h"

#include "ops/layer_norm/layer_norm.h"
#include "ops/linear/linear.h"
#include "ops/norm_linear/norm_linear_gpu.h"
#include "ops/norm_linear/norm_linear_kernel.h"
#include "ops/plan/fused_plan.h"
#include "ops/rms_norm/rms_norm.h"

namespace reckon::ops {
namespace {

const NormLinearAttrs& attrs_of(const PlanContext& c) { return c.as<NormLinearAttrs>(); }

// `w(i)`: the weight of linear i.
template <class F>
int64_t widest_of(int64_t c, int n_linears, F w) {
  for (int i = 0; i < n_linears; ++i) c = std::max(c, w(i).size(0));
  return c;
}

Plan plan_norm_linear(const PlanContext& c) {
  using In = NormLinearInput;
  const size_t n_in = c.in.size();
  RECKON_CHECK(n_in >= 5 && n_in % 2 == 1 && In::n_linears(n_in) <= kMaxNormLinears,
               "norm_linear takes 1 to {} linears, got {} inputs (x, norm weight, norm bias, then weight and "
               "bias of each)",
               kMaxNormLinears, n_in);
  const int n_linears = In::n_linears(n_in);
  const auto& attrs = attrs_of(c);
  const bool layer = attrs.kind == NormKind::layer;
  const Tensor &x = c.in[In::x], &norm_weight = c.in[In::norm_weight], &norm_bias = c.in[In::norm_bias];
  check_rank_at_least(x, 1, "norm_linear's input");
  const int64_t width = x.size(-1), rows = rows_of(x);
  check_shape(norm_weight, {width}, "norm_linear's norm weight");
  if (norm_bias.defined()) check_shape(norm_bias, {width}, "norm_linear's norm bias");
  RECKON_CHECK(layer || !norm_bias.defined(), "norm_linear: an rms norm has no bias, got {}",
               describe(norm_bias));
  for (int i = 0; i < n_linears; ++i) {
    const Tensor &w = c.in[In::weight(i)], &b = c.in[In::bias(i)];
    RECKON_CHECK(w.defined() && w.rank() == 2 && w.size(1) == width,
                 "norm_linear of {}: weight {} must be [out, {}], got {}", describe(x), i, width,
                 w.defined() ? describe(w) : "nothing");
    if (b.defined()) check_shape(b, {w.size(0)}, "norm_linear's bias");
  }
  check_fused_types(c.in, ~kNormLinearNormInputs, "norm_linear");

  Plan p;
  const DType t = c.in[In::weight(0)].dtype(), stats = accumulation_dtype(x.dtype());
  const NormCost norm{attrs.kind, width, norm_bias.defined()};
  p.cost.vector_flops = rows * (norm.statistics() + norm.rows());
  p.cost.special = rows;
  const int64_t tile =
      rows_per_tile(widest_of(width, n_linears, [&](int i) { return c.in[In::weight(i)]; }), width);
  const TileHeights heights(rows, tile);
  GemmScratch scratch(c.spec);
  for (int i = 0; i < n_linears; ++i) {
    const int64_t out = c.in[In::weight(i)].size(0);
    p.outputs.push_back({.shape = with_last(x.shape(), out), .dtype = t});
    p.cost.matmul_flops += matmul_flops(rows, out, width);
    if (c.in[In::bias(i)].defined()) p.cost.vector_flops += rows * out;
    for (int64_t m : {heights.full, heights.last}) scratch.add(m, out, width, t, t, t);
  }
  const Shape per_row = x.shape().slice(0, x.rank() - 1);
  if (layer) p.outputs.push_back({.shape = per_row, .dtype = stats, .label = "mean", .differentiable = false});
  p.outputs.push_back({.shape = per_row, .dtype = stats, .label = "rstd", .differentiable = false});
  p.workspaces = {{"products", scratch.bytes()}, {"norm tile", bytes_of(heights.full * width, t)}};
  p.launches = {{"norm_linear"}};

  p.saves = {{false, In::x}, {false, In::norm_weight}};
  if (norm_bias.defined()) p.saves.push_back({false, In::norm_bias});
  if (layer) p.saves.push_back({true, n_linears});
  p.saves.push_back({true, n_linears + (layer ? 1 : 0)});
  for (int i = 0; i < n_linears; ++i) p.saves.push_back({false, In::weight(i)});
  set_traffic(p, c);
  return p;
}

Plan plan_norm_linear_backward(const PlanContext& c) {
  const auto& attrs = attrs_of(c);
  using In = NormLinearBackwardInput;
  using Forward = NormLinearInput;
  const int n_linears = In::n_linears(c.in.size());
  const Tensor &x = c.in[In::x], &norm_bias = c.in[In::norm_bias];
  const int64_t width = x.size(-1), rows = rows_of(x);
  const NormCost norm{attrs.kind, width, norm_bias.defined()};
  check_fused_types(c.in, 0, "norm_linear_backward");
  Plan p;
  const int64_t tile =
      rows_per_tile(widest_of(width, n_linears, [&](int i) { return c.in[In::weight(i)]; }), width);
  const TileHeights heights(rows, tile);
  const GradientPlan grads{p, attrs.needs};
  grads.add(Forward::x, x.shape(), x.dtype(), "dx");
  grads.add_parameter(Forward::norm_weight, {width}, c.in[In::norm_weight].dtype(), "dnorm_weight");
  if (norm_bias.defined()) grads.add_parameter(Forward::norm_bias, {width}, norm_bias.dtype(), "dnorm_bias");
  const auto wants = [&](int input) { return (attrs.needs >> input & 1u) != 0; };
  const bool through_norm = (attrs.needs & kNormLinearNormInputs) != 0;
  const DType t = c.in[In::weight(0)].dtype(), native = accumulation_dtype(x.dtype());
  GemmScratch scratch(c.spec);
  bool rebuild = false, any = false;
  for (int i = 0; i < n_linears; ++i) {
    const Tensor &w = c.in[In::weight(i)], &dy = c.in[In::dout(i)];
    any |= dy.defined();
    const int64_t out = w.size(0);
    const bool dw = wants(Forward::weight(i)), db = wants(Forward::bias(i));
    RECKON_CHECK(dy.defined() || (!dw && !db),
                 "norm_linear_backward: gradients of linear {} need its output's gradient", i);
    grads.add_parameter(Forward::weight(i), w.shape(), t, "dweight");
    grads.add_parameter(Forward::bias(i), {out}, t, "dbias");
    rebuild |= dw;
    if (!dy.defined()) continue;
    for (int64_t m : {heights.full, heights.last}) {
      if (dw) scratch.add(out, width, m, dy.dtype(), t, native);
      if (through_norm) scratch.add(m, width, out, dy.dtype(), t, native);
    }
    p.cost.matmul_flops += matmul_flops(rows, out, width) * ((dw ? 1 : 0) + (through_norm ? 1 : 0));
    if (db) p.cost.vector_flops += rows * out;
  }
  RECKON_CHECK(any, "norm_linear_backward got no output's gradient");
  p.cost.vector_flops +=
      rows * ((rebuild ? norm.rows() : 0) +
              norm.gradients(wants(Forward::x), wants(Forward::norm_weight), wants(Forward::norm_bias)));
  p.workspaces = {{"products", scratch.bytes()},
                  {"norm tile", bytes_of(rebuild ? heights.full * width : 0, t)},
                  {"norm gradient tile", bytes_of(through_norm ? heights.full * width : 0, native)}};
  p.launches = {{"norm_linear_backward"}};
  set_traffic(p, c);
  return p;
}

void plan_norm_linear_gpu(const PlanContext& c, Plan& p) {
  using In = NormLinearInput;
  const Tensor &x = c.in[In::x], &w = c.in[In::weight(0)];
  p.workspaces = {};
  if (fits_tiles(x.size(-1), w.dtype())) return;
  p.workspaces = {{"library workspace", c.spec.library_workspace_bytes},
                  {"normalised rows", bytes_of(x.numel(), w.dtype())}};
  p.launches = {{"norm_rows"}};
  for (int i = 0; i < In::n_linears(c.in.size()); ++i) p.launches.push_back({"gemm", LaunchKind::library});
}

void plan_norm_linear_backward_gpu(const PlanContext& c, Plan& p) {
  const uint32_t needs = attrs_of(c).needs;
  using In = NormLinearBackwardInput;
  const int n_linears = In::n_linears(c.in.size());
  const Tensor& x = c.in[In::x];
  const int64_t width = x.size(-1), rows = rows_of(x);
  const DType weights = c.in[In::weight(0)].dtype();
  const auto out = [&](int i) { return c.in[In::weight(i)].size(0); };
  uint32_t used = 0;
  for (int i = 0; i < n_linears; ++i) {
    const Tensor& dy = c.in[In::dout(i)];
    if (!dy.defined()) continue;
    used |= 1u << i;
    RECKON_CHECK(dy.dtype() == weights,
                 "norm_linear_backward on a GPU needs output gradients of the weights' type, got {} and {}",
                 describe(dy), describe(c.in[In::weight(i)]));
  }
  p.workspaces = {};
  p.launches = {};
  if (!fits_tiles(width, weights)) {
    return follow_steps(
        WideNormLinearSteps(needs, used, n_linears, rows, width, weights, c.spec.library_workspace_bytes, out),
        p);
  }
  const NormLinearSums sums(needs, n_linears, width, out);
  if (needs & input_bits(NormLinearInput::norm_weight, NormLinearInput::norm_bias))
    p.workspaces.push_back(
        {"norm sums of row pieces", bytes_of(RowPieces(rows).pieces * 2 * width, DType::f32)});
  if (sums.floats > 0)
    p.workspaces.push_back(
        {"weight sums of row pieces", bytes_of(sums.pieces(rows).pieces * sums.floats, DType::f32)});
  if (needs & kNormLinearNormInputs) p.launches.push_back({"norm_linear_rows"});
  if (sums.floats > 0) p.launches.push_back({"norm_linear_weights"});
  if (needs & ~input_bits(NormLinearInput::x)) p.launches.push_back({"sum_gradients"});
}

AttrsPtr make_attrs(NormKind kind, double eps, uint32_t needs = 0) {
  return std::make_shared<NormLinearAttrs>(kind, eps, needs);
}

constexpr uint32_t every_input(int n_linears) { return (1u << NormLinearInput::weight(n_linears)) - 1; }

const OpDef norm_linear_backward_op{
    .name = "norm_linear_backward",
    .plan = plan_norm_linear_backward,
    .kernels = norm_linear_backward_kernels,
    .gradient = Gradient::none,
    .gradient_note = "second derivatives are not offered",
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "layer norm, two linears",
               .inputs = {normal({5, 9}), normal({9}), normal({9}), statistic({5}), statistic({5}),
                          normal({7, 9}), normal({5, 7}), normal({4, 9}), normal({5, 4})},
               .attrs = make_attrs(NormKind::layer, 1e-5, every_input(2))},
              {.name = "an unused output, no norm gradients",
               .inputs = {normal({5, 9}), normal({9}), absent(), statistic({5}), statistic({5}), normal({7, 9}),
                          absent(), normal({4, 9}), normal({5, 4})},
               .attrs = make_attrs(NormKind::layer, 1e-5, input_bits(NormLinearInput::weight(1)))},
              {.name = "rms norm, several tiles",
               .inputs = {normal({1100, 6}), normal({6}), absent(), absent(), statistic({1100}), normal({3, 6}),
                          normal({1100, 3})},
               .attrs =
                   make_attrs(NormKind::rms, 1e-6, every_input(1) & ~input_bits(NormLinearInput::norm_bias))},
              {.name = "rows of 200",
               .inputs = {normal({19, 200}), normal({200}), normal({200}), statistic({19}), statistic({19}),
                          normal({5, 200}), normal({19, 5})},
               .attrs = make_attrs(NormKind::layer, 1e-5, every_input(1))},
              {.name = "wider than a norm tile",
               .inputs = {normal({3, 530}), normal({530}), normal({530}), statistic({3}), statistic({3}),
                          normal({7, 530}), normal({3, 7}), normal({4, 530}), normal({3, 4})},
               .attrs = make_attrs(NormKind::layer, 1e-5, every_input(2))}};
        },
    .gpu_plan = plan_norm_linear_backward_gpu};

TensorList norm_linear_backward(BackwardContext& c) {
  using In = NormLinearBackwardInput;
  using Forward = NormLinearInput;
  const auto& attrs = c.as<NormLinearAttrs>();
  const bool layer = attrs.kind == NormKind::layer;
  SavedReader saved(c);
  TensorList in(In::first_linear);
  in[In::x] = saved.take();
  in[In::norm_weight] = saved.take();
  in[In::norm_bias] = saved.take(was_given(c, Forward::norm_bias));
  in[In::mean] = saved.take(layer);
  in[In::rstd] = saved.take();
  uint32_t needs = c.needs_grad;
  for (int i = 0; i < Forward::n_linears(c.input_shapes.size()); ++i) {
    Tensor& dout = c.grads[static_cast<size_t>(i)];
    in.push_back(saved.take());
    in.push_back(dout.defined() ? contiguous(dout) : dout);  // here, so that the original can go
    dout = {};
    if (!in.back().defined()) needs &= ~input_bits(Forward::weight(i), Forward::bias(i));
  }
  if (needs == 0) return TensorList(c.input_shapes.size());  // nothing below this output is trained
  return by_input(call(norm_linear_backward_op, in, make_attrs(attrs.kind, attrs.eps, needs)), needs,
                  c.input_shapes.size());
}

const OpDef norm_linear_op{
    .name = "norm_linear",
    .fingerprint = fingerprint_by<&NormLinearAttrs::kind, &NormLinearAttrs::eps>,
    .plan = plan_norm_linear,
    .kernels = norm_linear_kernels,
    .gradient = Gradient::differentiable,
    .backward = norm_linear_backward,
    .precision = Precision::low,
    .low_inputs = ~kNormLinearNormInputs,
    .recompute = Recompute::dear,
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "layer norm, three linears",
               .inputs = {normal({2, 3, 8}), normal({8}), normal({8}), normal({5, 8}), normal({5}),
                          normal({8, 8}), absent(), normal({1, 8}), normal({1})},
               .attrs = make_attrs(NormKind::layer, 1e-5)},
              {.name = "rms norm, odd width",
               .inputs = {normal({7, 33}), normal({33}), absent(), normal({40, 33}), normal({40})},
               .attrs = make_attrs(NormKind::rms, 1e-6)},
              {.name = "layer norm without bias, wider than a norm tile",
               .inputs = {normal({3, 530}), normal({530}), absent(), normal({4, 530}), absent()},
               .attrs = make_attrs(NormKind::layer, 1e-5)},
              {.name = "rms norm, rows of 200",
               .inputs = {normal({19, 200}), normal({200}), absent(), normal({5, 200}), absent()},
               .attrs = make_attrs(NormKind::rms, 1e-6)},
              {.name = "several row tiles",
               .inputs = {normal({2, 550, 4}), normal({4}), normal({4}), normal({3, 4}), normal({3})},
               .attrs = make_attrs(NormKind::layer, 1e-5)}};
        },
    .gpu_plan = plan_norm_linear_gpu};

}  // namespace

TensorList norm_linear(const Tensor& x, NormKind kind, const Tensor& norm_weight, const Tensor& norm_bias,
                       double eps, std::span<const Tensor> weights, std::span<const Tensor> biases) {
  RECKON_CHECK(biases.empty() || biases.size() == weights.size(), "norm_linear got {} weights and {} biases",
               weights.size(), biases.size());
  RECKON_CHECK(!weights.empty(), "norm_linear got no weight: expected at least one linear");
  TensorList out;
  out.reserve(weights.size());
  if (any_empty(weights)) {
    const Tensor n =
        kind == NormKind::layer ? layer_norm(x, norm_weight, norm_bias, eps) : rms_norm(x, norm_weight, eps);
    for (size_t i = 0; i < weights.size(); ++i)
      out.push_back(linear(cast(n, weights[i].dtype()), weights[i], biases.empty() ? Tensor{} : biases[i]));
    return out;
  }
  for (size_t first = 0; first < weights.size(); first += kMaxNormLinears) {
    const size_t n = std::min<size_t>(weights.size() - first, kMaxNormLinears);
    TensorList in{x, norm_weight, norm_bias};
    for (size_t i = first; i < first + n; ++i) {
      in.push_back(weights[i]);
      in.push_back(biases.empty() ? Tensor{} : biases[i]);
    }
    const TensorList made = call(norm_linear_op, in, make_attrs(kind, eps));
    out.insert(out.end(), made.begin(), made.begin() + static_cast<std::ptrdiff_t>(n));
  }
  return out;
}

std::vector<const OpDef*> norm_linear_ops() { return {&norm_linear_op, &norm_linear_backward_op}; }

}  // namespace reckon::ops
