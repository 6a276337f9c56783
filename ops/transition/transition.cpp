#include "ops/transition/transition.h"

#include "ops/activation/activation.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/linear/linear.h"
#include "ops/plan/fused_plan.h"
#include "ops/swiglu/swiglu.h"
#include "ops/transition/transition_kernel.h"
#include "ops/transition/transition_wide.h"

namespace reckon::ops {
namespace {

AttrsPtr make_attrs(double eps, uint32_t needs = 0) { return std::make_shared<TransitionAttrs>(eps, needs); }

void check_matrix(const Tensor& w, int64_t rows, int64_t columns, const char* what) {
  RECKON_CHECK(w.defined() && w.rank() == 2 && (rows < 0 || w.size(0) == rows) && w.size(1) == columns,
               "{} must be [{}, {}], got {}", what, rows < 0 ? std::string("any") : std::to_string(rows),
               columns, w.defined() ? describe(w) : "nothing");
}

// Sizes both transitions share: x [rows, c], hidden h, output width out.
struct Sizes {
  Sizes(const Tensor& x, const Tensor& hidden_weight, const Tensor& out_weight)
      : c(x.size(-1)),
        rows(c > 0 ? x.numel() / c : 0),
        h(hidden_weight.size(0)),
        out(out_weight.size(0)),
        tile(rows, rows_per_tile(std::max(h, c), std::min(h, c))),
        t(hidden_weight.dtype()),
        stats(accumulation_dtype(x.dtype())) {}
  int64_t c, rows, h, out;
  TileHeights tile;
  DType t, stats;
};

void check_norm(const PlanContext& c, int64_t width, const char* op) {
  using In = TransitionInput;
  check_shape(c.in[In::ln_weight], {width}, op);
  if (c.in[In::ln_bias].defined()) check_shape(c.in[In::ln_bias], {width}, op);
}

// What both plans begin with: the output, the rows of the hidden layer that are kept, the norm's
// statistics, the products' scratch; and of what backward reads x and the norm.
Plan begin_forward(const PlanContext& c, const Sizes& s, std::span<const char* const> kept) {
  using In = TransitionInput;
  const Shape x = c.in[In::x].shape(), per_row = x.slice(0, x.rank() - 1);
  const bool normalised = c.in[In::ln_weight].defined();
  Plan p;
  p.outputs = {{.shape = with_last(x, s.out), .dtype = s.t}};
  for (const char* label : kept)
    p.outputs.push_back({.shape = with_last(x, s.h), .dtype = s.t, .label = label, .differentiable = false});
  for (const char* label : {"mean", "rstd"})
    if (normalised)
      p.outputs.push_back({.shape = per_row, .dtype = s.stats, .label = label, .differentiable = false});
  GemmScratch scratch(c.spec);
  for (int64_t m : {s.tile.full, s.tile.last}) {
    scratch.add(m, s.h, s.c, s.t, s.t, s.t);
    scratch.add(m, s.out, s.h, s.t, s.t, s.t);
  }
  p.workspaces = {{"products", scratch.bytes()}};
  for (int k : {In::x, In::ln_weight, In::ln_bias})
    if (c.in[static_cast<size_t>(k)].defined()) p.saves.push_back({false, k});
  return p;
}

// dx and those of the norm's parameters.
void add_norm_gradients(const GradientPlan& grads, const PlanContext& c) {
  using In = TransitionBackwardInput;
  const Tensor &x = c.in[In::x], &weight = c.in[In::ln_weight], &bias = c.in[In::ln_bias];
  grads.add(TransitionInput::x, x.shape(), x.dtype(), "dx");
  if (weight.defined())
    grads.add_parameter(TransitionInput::ln_weight, weight.shape(), weight.dtype(), "dln_weight");
  if (bias.defined()) grads.add_parameter(TransitionInput::ln_bias, bias.shape(), bias.dtype(), "dln_bias");
}

Plan plan_relu(const PlanContext& c) {
  using In = ReluTransitionInput;
  const Tensor &x = c.in[In::x], &w1 = c.in[In::w1], &b1 = c.in[In::b1], &w2 = c.in[In::w2], &b2 = c.in[In::b2];
  check_rank_at_least(x, 1, "relu_transition's input");
  check_norm(c, x.size(-1), "relu_transition's layer norm parameter");
  check_matrix(w1, -1, x.size(-1), "relu_transition's w1");
  check_matrix(w2, -1, w1.size(0), "relu_transition's w2");
  if (b1.defined()) check_shape(b1, {w1.size(0)}, "relu_transition's b1");
  if (b2.defined()) check_shape(b2, {w2.size(0)}, "relu_transition's b2");
  check_fused_types(c.in, ~kTransitionNormInputs, "relu_transition");
  const Sizes s(x, w1, w2);
  const bool keeps = c.needs_grad != 0;
  constexpr const char* kept[] = {"hidden"};
  Plan p = begin_forward(c, s, std::span(kept, keeps ? 1 : 0));
  p.workspaces.append({{"norm tile", bytes_of(s.tile.full * s.c, s.t)},
                       {"hidden tile", bytes_of(keeps ? 0 : s.tile.full * s.h, s.t)}});
  p.launches = {{"relu_transition"}};
  if (keeps)
    p.saves.append({{true, ReluTransitionOutput::mean},
                    {true, ReluTransitionOutput::rstd},
                    {true, ReluTransitionOutput::hidden}});
  p.saves.append({{false, In::w1}, {false, In::w2}});
  const NormCost norm{NormKind::layer, s.c, c.in[In::ln_bias].defined()};
  p.cost.matmul_flops = matmul_flops(s.rows, s.h, s.c) + matmul_flops(s.rows, s.out, s.h);
  p.cost.vector_flops =
      s.rows * (norm.statistics() + norm.rows() + (b1.defined() ? s.h : 0) + (b2.defined() ? s.out : 0));
  p.cost.special = s.rows;
  set_traffic(p, c);
  return p;
}

Plan plan_relu_backward(const PlanContext& c) {
  const uint32_t needs = c.as<TransitionAttrs>().needs;
  using In = ReluTransitionBackwardInput;
  using Forward = ReluTransitionInput;
  const Tensor &dy = c.in[In::dout], &x = c.in[In::x], &w1 = c.in[In::w1], &w2 = c.in[In::w2];
  check_fused_types(c.in, 0, "relu_transition_backward");
  const Sizes s(x, w1, w2);
  check_shape(dy, with_last(x.shape(), s.out), "relu_transition's output gradient");
  Plan p;
  const GradientPlan grads{p, needs};
  add_norm_gradients(grads, c);
  grads.add_parameter(Forward::w1, w1.shape(), s.t, "dw1");
  grads.add_parameter(Forward::b1, {s.h}, s.t, "db1");
  grads.add_parameter(Forward::w2, w2.shape(), s.t, "dw2");
  grads.add_parameter(Forward::b2, {s.out}, s.t, "db2");
  const auto wants = [&](int input) { return (needs >> input & 1u) != 0; };
  const bool through_hidden = (needs & kTransitionHiddenInputs) != 0,
             through_norm = (needs & kTransitionNormInputs) != 0;
  GemmScratch scratch(c.spec);
  for (int64_t m : {s.tile.full, s.tile.last}) {
    if (wants(Forward::w2)) scratch.add(s.out, s.h, m, dy.dtype(), s.t, s.stats);
    if (through_hidden) scratch.add(m, s.h, s.out, dy.dtype(), s.t, s.t);
    if (wants(Forward::w1)) scratch.add(s.h, s.c, m, s.t, s.t, s.stats);
    if (through_norm) scratch.add(m, s.c, s.h, s.t, s.t, s.stats);
  }
  const NormCost norm{NormKind::layer, s.c, c.in[In::ln_bias].defined()};
  const int64_t outer = matmul_flops(s.rows, s.out, s.h), inner = matmul_flops(s.rows, s.h, s.c);
  p.cost.matmul_flops =
      outer * (wants(Forward::w2) + through_hidden) + inner * (wants(Forward::w1) + through_norm);
  p.cost.vector_flops =
      s.rows * ((wants(Forward::b2) ? s.out : 0) + (wants(Forward::b1) ? s.h : 0) +
                (wants(Forward::w1) ? norm.rows() : 0) +
                norm.gradients(wants(Forward::x), wants(Forward::ln_weight), wants(Forward::ln_bias)));
  p.workspaces = {{"products", scratch.bytes()},
                  {"norm tile", bytes_of(wants(Forward::w1) ? s.tile.full * s.c : 0, s.t)},
                  {"norm gradient tile", bytes_of(through_norm ? s.tile.full * s.c : 0, s.stats)},
                  {"hidden gradient tile", bytes_of(through_hidden ? s.tile.full * s.h : 0, s.t)}};
  p.launches = {{"relu_transition_backward"}};
  set_traffic(p, c);
  return p;
}

Plan plan_swiglu(const PlanContext& c) {
  using In = SwigluTransitionInput;
  const Tensor &x = c.in[In::x], &wa = c.in[In::w_a], &wb = c.in[In::w_b], &wo = c.in[In::w_o];
  check_rank_at_least(x, 1, "swiglu_transition's input");
  const bool normalised = c.in[In::ln_weight].defined();
  RECKON_CHECK(normalised || !c.in[In::ln_bias].defined(),
               "swiglu_transition got a layer norm bias without its weight");
  if (normalised) check_norm(c, x.size(-1), "swiglu_transition's layer norm parameter");
  check_matrix(wa, -1, x.size(-1), "swiglu_transition's w_a");
  check_matrix(wb, wa.size(0), x.size(-1), "swiglu_transition's w_b");
  check_matrix(wo, -1, wa.size(0), "swiglu_transition's w_o");
  check_fused_types(c.in, ~kTransitionNormInputs, "swiglu_transition");
  const Sizes s(x, wa, wo);
  const bool keeps = c.needs_grad != 0;
  constexpr const char* kept[] = {"projection a", "projection b"};
  Plan p = begin_forward(c, s, std::span(kept, keeps ? 2 : 0));
  const bool direct = !normalised && x.dtype() == s.t;
  p.workspaces.append(
      {{"norm tile", bytes_of(direct ? 0 : s.tile.full * s.c, s.t)},
       {"gated tile", bytes_of(s.tile.full * s.h, s.t)},
       {"projection tiles", bytes_of(keeps ? 0 : 2 * padded_elements(s.tile.full * s.h), s.t)}});
  p.launches = {{"swiglu_transition"}};
  if (keeps) {
    using Out = SwigluTransitionOutput;
    if (normalised) p.saves.append({{true, Out::mean}, {true, Out::rstd}});
    p.saves.append({{true, Out::a}, {true, Out::b}});
  }
  p.saves.append({{false, In::w_a}, {false, In::w_b}, {false, In::w_o}});
  const NormCost norm{NormKind::layer, s.c, c.in[In::ln_bias].defined()};
  p.cost.matmul_flops = 2 * matmul_flops(s.rows, s.h, s.c) + matmul_flops(s.rows, s.out, s.h);
  p.cost.vector_flops = s.rows * ((normalised ? norm.statistics() + norm.rows() : 0) + 4 * s.h);
  p.cost.special = s.rows * ((normalised ? 1 : 0) + s.h);
  set_traffic(p, c);
  return p;
}

Plan plan_swiglu_backward(const PlanContext& c) {
  const uint32_t needs = c.as<TransitionAttrs>().needs;
  using In = SwigluTransitionBackwardInput;
  using Forward = SwigluTransitionInput;
  const Tensor &dy = c.in[In::dout], &x = c.in[In::x], &wa = c.in[In::w_a], &wb = c.in[In::w_b],
               &wo = c.in[In::w_o];
  check_fused_types(c.in, 0, "swiglu_transition_backward");
  const Sizes s(x, wa, wo);
  check_shape(dy, with_last(x.shape(), s.out), "swiglu_transition's output gradient");
  const bool normalised = c.in[In::ln_weight].defined(), direct = !normalised && x.dtype() == s.t;
  Plan p;
  const GradientPlan grads{p, needs};
  add_norm_gradients(grads, c);
  grads.add_parameter(Forward::w_a, wa.shape(), s.t, "dw_a");
  grads.add_parameter(Forward::w_b, wb.shape(), s.t, "dw_b");
  grads.add_parameter(Forward::w_o, wo.shape(), s.t, "dw_o");
  const auto wants = [&](int input) { return (needs >> input & 1u) != 0; };
  const bool through_norm = (needs & kTransitionNormInputs) != 0;
  GemmScratch scratch(c.spec);
  for (int64_t m : {s.tile.full, s.tile.last}) {
    scratch.add(m, s.h, s.out, dy.dtype(), s.t, s.t);
    scratch.add(s.out, s.h, m, dy.dtype(), s.t, s.stats);
    scratch.add(s.h, s.c, m, s.t, s.t, s.stats);
    scratch.add(m, s.c, s.h, s.t, s.t, s.stats);
  }
  const NormCost norm{NormKind::layer, s.c, c.in[In::ln_bias].defined()};
  const int64_t outer = matmul_flops(s.rows, s.out, s.h), inner = matmul_flops(s.rows, s.h, s.c);
  const bool rebuild = (wants(Forward::w_a) || wants(Forward::w_b)) && !direct;
  p.cost.matmul_flops = outer * (1 + wants(Forward::w_o)) +
                        inner * (wants(Forward::w_a) + wants(Forward::w_b) + 2 * through_norm);
  p.cost.vector_flops = s.rows * 10 * s.h;
  if (normalised)
    p.cost.vector_flops +=
        s.rows * ((rebuild ? norm.rows() : 0) +
                  norm.gradients(wants(Forward::x), wants(Forward::ln_weight), wants(Forward::ln_bias)));
  p.cost.special = s.rows * s.h;
  p.workspaces = {{"products", scratch.bytes()},
                  {"norm tile", bytes_of(rebuild ? s.tile.full * s.c : 0, s.t)},
                  {"norm gradient tile", bytes_of(through_norm ? s.tile.full * s.c : 0, s.stats)},
                  {"gated tile", bytes_of(s.tile.full * s.h, s.t)},
                  {"gradient tile a", bytes_of(s.tile.full * s.h, s.t)},
                  {"gradient tile b", bytes_of(s.tile.full * s.h, s.t)}};
  p.launches = {{"swiglu_transition_backward"}};
  set_traffic(p, c);
  return p;
}

// Gated: swiglu.
void plan_forward_gpu(const PlanContext& c, Plan& p, bool gated) {
  using In = TransitionInput;
  const Sizes s(c.in[In::x], c.in[In::w_in], c.in[In::w_out]);
  p.workspaces = {};
  if (transition_fused(s.c, s.out, s.t)) return;
  follow_steps(WideTransition({gated, s.rows, s.c, s.h, s.out}, c.in[In::x].dtype(), s.t,
                              c.in[In::ln_weight].defined(), c.needs_grad != 0, c.spec.library_workspace_bytes),
               p);
}

void plan_backward_gpu(const PlanContext& c, Plan& p, bool gated) {
  const uint32_t needs = c.as<TransitionAttrs>().needs;
  using In = TransitionBackwardInput;
  using Relu = ReluTransitionBackwardInput;
  using Gated = SwigluTransitionBackwardInput;
  const Tensor &dy = c.in[In::dout], &x = c.in[In::x], &w_in = c.in[gated ? +Gated::w_a : +Relu::w1],
               &w_out = c.in[gated ? +Gated::w_o : +Relu::w2];
  RECKON_CHECK(dy.dtype() == w_in.dtype(),
               "a transition's backward on a GPU needs an output gradient of the weights' type, got {} and {}",
               describe(dy), describe(w_in));
  const Sizes s(x, w_in, w_out);
  const TransitionSizes sizes{gated, s.rows, s.c, s.h, s.out};
  if (!transition_fused(s.c, s.out, s.t))
    return follow_steps(WideTransition::gradients(sizes, x.dtype(), s.t, c.in[In::ln_weight].defined(), needs,
                                                  c.spec.library_workspace_bytes),
                        p);
  const TransitionSums sums(needs, sizes);
  p.workspaces = {};
  p.launches = {};
  if (needs & kTransitionNormParameters)
    p.workspaces.push_back(
        {"norm sums of row pieces", bytes_of(RowPieces(s.rows).pieces * 2 * s.c, DType::f32)});
  if (sums.floats > 0)
    p.workspaces.push_back(
        {"weight sums of row pieces", bytes_of(sums.pieces(s.rows).pieces * sums.floats, DType::f32)});
  if (needs & kTransitionNormInputs) p.launches.push_back({"transition_rows"});
  if (sums.floats > 0) p.launches.push_back({"transition_weights"});
  if (needs & ~input_bits(TransitionInput::x)) p.launches.push_back({"sum_gradients"});
}

constexpr uint32_t kEveryReluInput = (1u << ReluTransitionInput::n_inputs) - 1,
                   kEverySwigluInput = (1u << SwigluTransitionInput::n_inputs) - 1;

const OpDef relu_backward_op{
    .name = "relu_transition_backward",
    .plan = plan_relu_backward,
    .kernels = relu_transition_backward_kernels,
    .gradient = Gradient::none,
    .gradient_note = "second derivatives are not offered",
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "everything",
               .inputs = {normal({5, 6}), normal({5, 7}), normal({7}), normal({7}), statistic({5}),
                          statistic({5}), normal({5, 9}), normal({9, 7}), normal({6, 9})},
               .attrs = make_attrs(1e-5, kEveryReluInput)},
              {.name = "only the output layer, several tiles",
               .inputs = {normal({600, 3}), normal({600, 4}), normal({4}), absent(), statistic({600}),
                          statistic({600}), normal({600, 5}), normal({5, 4}), normal({3, 5})},
               .attrs = make_attrs(1e-5, input_bits(ReluTransitionInput::w2, ReluTransitionInput::b2))},
              {.name = "wide rows",
               .inputs = {normal({5, 300}), normal({5, 300}), normal({300}), normal({300}), statistic({5}),
                          statistic({5}), normal({5, 9}), normal({9, 300}), normal({300, 9})},
               .attrs = make_attrs(1e-5, kEveryReluInput)}};
        },
    .gpu_plan = [](const PlanContext& c, Plan& p) { plan_backward_gpu(c, p, false); }};

const OpDef swiglu_backward_op{
    .name = "swiglu_transition_backward",
    .plan = plan_swiglu_backward,
    .kernels = swiglu_transition_backward_kernels,
    .gradient = Gradient::none,
    .gradient_note = "second derivatives are not offered",
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "everything",
               .inputs = {normal({5, 6}), normal({5, 7}), normal({7}), normal({7}), statistic({5}),
                          statistic({5}), normal({5, 9}), normal({5, 9}), normal({9, 7}), normal({9, 7}),
                          normal({6, 9})},
               .attrs = make_attrs(1e-5, kEverySwigluInput)},
              {.name = "no norm, several tiles",
               .inputs = {normal({600, 3}), normal({600, 4}), absent(), absent(), absent(), absent(),
                          normal({600, 5}), normal({600, 5}), normal({5, 4}), normal({5, 4}), normal({3, 5})},
               .attrs = make_attrs(0, input_bits(SwigluTransitionInput::x, SwigluTransitionInput::w_b,
                                                 SwigluTransitionInput::w_o))},
              {.name = "wide rows",
               .inputs = {normal({5, 300}), normal({5, 300}), normal({300}), normal({300}), statistic({5}),
                          statistic({5}), normal({5, 9}), normal({5, 9}), normal({9, 300}), normal({9, 300}),
                          normal({300, 9})},
               .attrs = make_attrs(1e-5, kEverySwigluInput)}};
        },
    .gpu_plan = [](const PlanContext& c, Plan& p) { plan_backward_gpu(c, p, true); }};

TensorList relu_backward(BackwardContext& c) {
  SavedReader saved(c);
  TensorList in{take_gradient(c)};
  using In = ReluTransitionBackwardInput;
  for (int k = In::x; k <= In::w2; ++k)
    in.push_back(saved.take(k != In::ln_bias || was_given(c, TransitionInput::ln_bias)));
  return by_input(call(relu_backward_op, in, make_attrs(c.as<TransitionAttrs>().eps, c.needs_grad)),
                  c.needs_grad, ReluTransitionInput::n_inputs);
}

TensorList swiglu_backward(BackwardContext& c) {
  SavedReader saved(c);
  TensorList in{take_gradient(c)};
  const bool normalised = was_given(c, TransitionInput::ln_weight);
  using In = SwigluTransitionBackwardInput;
  for (int k = In::x; k <= In::w_o; ++k) {
    const bool of_norm = k == In::ln_weight || k == In::mean || k == In::rstd;
    in.push_back(
        saved.take(k == In::ln_bias ? was_given(c, TransitionInput::ln_bias) : !of_norm || normalised));
  }
  return by_input(call(swiglu_backward_op, in, make_attrs(c.as<TransitionAttrs>().eps, c.needs_grad)),
                  c.needs_grad, SwigluTransitionInput::n_inputs);
}

const OpDef relu_op{.name = "relu_transition",
                    .fingerprint = fingerprint_by<&TransitionAttrs::eps>,
                    .plan = plan_relu,
                    .kernels = relu_transition_kernels,
                    .gradient = Gradient::differentiable,
                    .backward = relu_backward,
                    .precision = Precision::low,
                    .low_inputs = ~kTransitionNormInputs,
                    .recompute = Recompute::dear,
                    .cases =
                        [] {
                          return std::vector<OpCase>{
                              {.name = "biases",
                               .inputs = {normal({2, 3, 8}), normal({8}), normal({8}), normal({17, 8}),
                                          normal({17}), normal({8, 17}), normal({8})},
                               .attrs = make_attrs(1e-5)},
                              {.name = "no biases",
                               .inputs = {normal({5, 33}), normal({33}), absent(), normal({40, 33}), absent(),
                                          normal({7, 40}), absent()},
                               .attrs = make_attrs(1e-5)},
                              {.name = "several tiles",
                               .inputs = {normal({520, 4}), normal({4}), normal({4}), normal({6, 4}),
                                          normal({6}), normal({3, 6}), normal({3})},
                               .attrs = make_attrs(1e-5)},
                              {.name = "wide rows",
                               .inputs = {normal({5, 300}), normal({300}), normal({300}), normal({9, 300}),
                                          normal({9}), normal({300, 9}), normal({300})},
                               .attrs = make_attrs(1e-5)}};
                        },
                    .gpu_plan = [](const PlanContext& c, Plan& p) { plan_forward_gpu(c, p, false); }};

const OpDef swiglu_op{
    .name = "swiglu_transition",
    .fingerprint = fingerprint_by<&TransitionAttrs::eps>,
    .plan = plan_swiglu,
    .kernels = swiglu_transition_kernels,
    .gradient = Gradient::differentiable,
    .backward = swiglu_backward,
    .precision = Precision::low,
    .low_inputs = ~kTransitionNormInputs,
    .recompute = Recompute::dear,
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "layer norm",
               .inputs = {normal({2, 3, 8}), normal({8}), normal({8}), normal({17, 8}), normal({17, 8}),
                          normal({8, 17})},
               .attrs = make_attrs(1e-5)},
              {.name = "wide rows",
               .inputs = {normal({5, 300}), normal({300}), normal({300}), normal({9, 300}), normal({9, 300}),
                          normal({300, 9})},
               .attrs = make_attrs(1e-5)},
              {.name = "no norm",
               .inputs = {normal({5, 33}), absent(), absent(), normal({40, 33}), normal({40, 33}),
                          normal({7, 40})},
               .attrs = make_attrs(0)},
              {.name = "several tiles",
               .inputs = {normal({520, 4}), normal({4}), absent(), normal({6, 4}), normal({6, 4}),
                          normal({3, 6})},
               .attrs = make_attrs(1e-5),
               .tolerance_scale = 2.0,
               .why =
                   "norm, projections, product and output are each rounded to the low type, and 1500 outputs "
                   "have a larger worst one"}};
        },
    .gpu_plan = [](const PlanContext& c, Plan& p) { plan_forward_gpu(c, p, true); }};

}  // namespace

Tensor relu_transition(const Tensor& x, const Tensor& ln_weight, const Tensor& ln_bias, const Tensor& w1,
                       const Tensor& b1, const Tensor& w2, const Tensor& b2, double eps) {
  const TensorList in{x, ln_weight, ln_bias, w1, b1, w2, b2};
  if (any_empty(std::span(in).subspan(1))) {
    const Tensor n = cast(layer_norm(x, ln_weight, ln_bias, eps), w1.dtype());
    return linear(relu(linear(n, w1, b1)), w2, b2);
  }
  return call(relu_op, in, make_attrs(eps))[0];
}

Tensor swiglu_transition(const Tensor& x, const Tensor& ln_weight, const Tensor& ln_bias, const Tensor& w_a,
                         const Tensor& w_b, const Tensor& w_o, double eps) {
  const TensorList in{x, ln_weight, ln_bias, w_a, w_b, w_o};
  if (any_empty(std::span(in).subspan(1))) {
    const Tensor n = cast(ln_weight.defined() ? layer_norm(x, ln_weight, ln_bias, eps) : x, w_a.dtype());
    return linear(swiglu(linear(n, w_a, {}), linear(n, w_b, {})), w_o, {});
  }
  return call(swiglu_op, in, make_attrs(eps))[0];
}

std::vector<const OpDef*> transition_ops() {
  return {&relu_op, &relu_backward_op, &swiglu_op, &swiglu_backward_op};
}

}  // namespace reckon::ops
