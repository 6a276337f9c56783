#include "ops/outer_product_mean/outer_product_mean.h"

#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/einsum/einsum.h"
#include "ops/linear/linear.h"
#include "ops/outer_product_mean/outer_product_mean_gpu.h"
#include "ops/outer_product_mean/outer_product_mean_kernel.h"
#include "ops/plan/fused_plan.h"
#include "ops/view/view.h"

namespace reckon::ops {
namespace {

constexpr uint32_t kDifferentiable = input_bits(OuterProductMeanInput::a, OuterProductMeanInput::b,
                                                OuterProductMeanInput::weight, OuterProductMeanInput::bias);

OuterSizes check_sizes(const Tensor& a, const Tensor& b, const Tensor& weight, const Tensor& mask) {
  RECKON_CHECK(a.rank() == 4 && b.defined() && b.shape() == a.shape(),
               "outer_product_mean takes a and b of one shape [B, S, R, c], got {} and {}", describe(a),
               b.defined() ? describe(b) : "nothing");
  const int64_t c = a.size(3);
  RECKON_CHECK(weight.defined() && weight.rank() == 2 && weight.size(1) == c * c && a.numel() > 0,
               "outer_product_mean of {}: weight must be [c_z, {}], got {}", describe(a), c * c,
               weight.defined() ? describe(weight) : "nothing");
  if (mask.defined()) check_shape(mask, a.shape().slice(0, 3), "outer_product_mean's mask");
  return {a.size(0), a.size(1), a.size(2), c, weight.size(0)};
}

// Calls f(mi, mj) for every tile size that occurs.
template <class F>
void for_tile_sizes(const OuterSizes& n, const OuterTiles& t, F f) {
  const TileHeights i(n.r, t.ti), j(n.r, t.tj);
  for (int64_t mi : {i.full, i.last})
    for (int64_t mj : {j.full, j.last}) f(mi, mj);
}

Plan plan_forward(const PlanContext& c) {
  using In = OuterProductMeanInput;
  const Tensor &a = c.in[In::a], &b = c.in[In::b], &weight = c.in[In::weight], &bias = c.in[In::bias],
               &mask = c.in[In::mask];
  const OuterSizes n = check_sizes(a, b, weight, mask);
  if (bias.defined()) check_shape(bias, {n.cz}, "outer_product_mean's bias");
  check_fused_types(c.in, input_bits(In::weight, In::bias), "outer_product_mean");
  const OuterTiles t = outer_tiles(n, false);
  const bool divides = c.as<OuterProductMeanAttrs>().normalize != OuterNormalize::none,
             counts = divides && mask.defined();
  const DType low = weight.dtype(), native = accumulation_dtype(low);
  GemmScratch scratch(c.spec);
  for_tile_sizes(n, t, [&](int64_t mi, int64_t mj) {
    if (counts) scratch.add(mi, n.r, n.s, mask.dtype(), mask.dtype(), native);
    if (t.project_first) {
      scratch.add(mi, n.cz * n.c, n.c, a.dtype(), low, low, n.s);
      scratch.add(mj, n.cz, n.c, b.dtype(), low, native, mi);
    } else {
      scratch.add(mi * n.c, n.c, n.s, a.dtype(), b.dtype(), low, mj);
      scratch.add(mi * mj, n.cz, n.c * n.c, low, low, native);
    }
  });
  Plan p;
  p.outputs = {{.shape = {n.batch, n.r, n.r, n.cz}, .dtype = low}};
  p.workspaces = {{"products", scratch.bytes()},
                  {t.project_first ? "projected rows" : "outer product tile",
                   bytes_of(t.project_first ? t.ti * n.s * n.cz * n.c : t.ti * t.tj * n.c * n.c, low)},
                  {"projected tile", bytes_of(t.ti * t.tj * n.cz, native)},
                  {"permuted weight", bytes_of(t.project_first ? weight.numel() : 0, low)},
                  {"pair counts", bytes_of(counts ? t.ti * n.r : 0, native)}};
  p.launches = {{"outer_product_mean"}};
  p.saves = {{false, In::a}, {false, In::b}, {false, In::weight}};
  if (counts) p.saves.push_back({false, In::mask});
  const int64_t pairs = n.batch * n.r * n.r;
  p.cost.matmul_flops =
      n.batch * (t.project_first ? n.project_first() : n.outer_first()) + (counts ? 2 * n.s * pairs : 0);
  p.cost.vector_flops = pairs * ((divides ? 2 + n.cz : 0) + (bias.defined() ? n.cz : 0));
  set_traffic(p, c);
  return p;
}

Plan plan_backward(const PlanContext& c) {
  const auto& attrs = c.as<OuterProductMeanAttrs>();
  using In = OuterProductMeanBackwardInput;
  using Forward = OuterProductMeanInput;
  const Tensor &dy = c.in[In::dout], &a = c.in[In::a], &b = c.in[In::b], &weight = c.in[In::weight],
               &mask = c.in[In::mask];
  const OuterSizes n = check_sizes(a, b, weight, mask);
  check_shape(dy, {n.batch, n.r, n.r, n.cz}, "outer_product_mean's output gradient");
  check_fused_types(c.in, 0, "outer_product_mean_backward");
  const OuterTiles t = outer_tiles(n, true);
  const bool project = t.project_first, divides = attrs.normalize != OuterNormalize::none,
             counts = divides && mask.defined();
  const auto wants = [&](int input) { return (attrs.needs >> input & 1u) != 0; };
  const bool wants_a = wants(Forward::a), wants_b = wants(Forward::b), wants_weight = wants(Forward::weight);
  const DType low = weight.dtype(), native = accumulation_dtype(low);
  const int64_t cc = n.c * n.c, width = n.cz * n.c;
  GemmScratch scratch(c.spec);
  for_tile_sizes(n, t, [&](int64_t mi, int64_t mj) {
    if (counts) scratch.add(mi, n.r, n.s, mask.dtype(), mask.dtype(), native);
    if (project) {
      scratch.add(mi, width, n.c, a.dtype(), low, low, n.s);
      scratch.add(n.r, n.c, n.cz, low, low, native, n.s);
      scratch.add(n.cz, n.c, n.r, low, b.dtype(), low, n.s * mi);
      scratch.add(mi, n.c, width, low, low, a.dtype(), n.s);
      scratch.add(n.c, width, mi, a.dtype(), low, native);
    } else {
      scratch.add(mi * n.c, n.c, n.s, a.dtype(), b.dtype(), low, mj);
      scratch.add(n.cz, cc, mi * mj, low, low, native);
      scratch.add(mi * mj, cc, n.cz, low, low, low);
      scratch.add(n.s, n.c, mi * n.c, a.dtype(), low, native, mj);
      scratch.add(n.s, mi * n.c, mj * n.c, b.dtype(), low, native);
    }
  });
  Plan p;
  const GradientPlan grads{p, attrs.needs};
  grads.add(Forward::a, a.shape(), a.dtype(), "da");
  grads.add(Forward::b, b.shape(), b.dtype(), "db");
  grads.add_parameter(Forward::weight, weight.shape(), low, "dweight");
  grads.add_parameter(Forward::bias, {n.cz}, low, "dbias");
  const int64_t tile = project ? t.ti * n.s * width : t.ti * t.tj * cc;
  const int64_t sums = project ? (wants_weight ? n.c * width : 0) : (wants_a ? n.s * t.ti * n.c : 0);
  p.workspaces = {{"products", scratch.bytes()},
                  {"gradient tile", bytes_of(t.ti * t.tj * n.cz, low)},
                  {project ? "projected rows" : "outer product tile", bytes_of(tile, low)},
                  {project ? "projected rows' gradient" : "reordered tile", bytes_of(tile, low)},
                  {"permuted weight", bytes_of(project ? weight.numel() : 0, low)},
                  {project ? "permuted weight's gradient" : "gradient of a's rows", bytes_of(sums, native)},
                  {"gradient of b", bytes_of(wants_b && b.dtype() != native ? n.s * n.r * n.c : 0, native)},
                  {"pair counts", bytes_of(counts ? t.ti * n.r : 0, native)}};
  p.launches = {{"outer_product_mean_backward"}};
  const int64_t per_row = 2 * n.s * n.r * cc * n.cz, per_pair = 2 * n.s * n.r * n.r * n.c * n.cz;
  const int64_t outer = 2 * n.s * n.r * n.r * cc, projection = 2 * n.r * n.r * cc * n.cz;
  const int64_t flops = project
                            ? (wants_b ? per_row + per_pair : 0) + (wants_a || wants_weight ? per_pair : 0) +
                                  (wants_a + wants_weight) * per_row
                            : (wants_weight ? outer + projection : 0) + (wants_a || wants_b ? projection : 0) +
                                  (wants_a + wants_b) * outer;
  const int64_t pairs = n.batch * n.r * n.r;
  p.cost.matmul_flops = n.batch * flops + (counts ? 2 * n.s * pairs : 0);
  p.cost.vector_flops = pairs * ((divides ? 2 + n.cz : 0) + (wants(Forward::bias) ? n.cz : 0));
  set_traffic(p, c);
  return p;
}

OuterSizes sizes_of(const Tensor& a, const Tensor& weight) {
  return {a.size(0), a.size(1), a.size(2), a.size(3), weight.size(0)};
}

bool counts_pairs(const OuterProductMeanAttrs& attrs, const Tensor& mask) {
  return attrs.normalize != OuterNormalize::none && mask.defined();
}

void plan_forward_gpu(const PlanContext& c, Plan& p) {
  using In = OuterProductMeanInput;
  const Tensor& weight = c.in[In::weight];
  const OuterSizes n = sizes_of(c.in[In::a], weight);
  p.workspaces = {};
  p.launches = {};
  if (counts_pairs(c.as<OuterProductMeanAttrs>(), c.in[In::mask])) {
    p.workspaces.push_back({"pair factors", bytes_of(n.batch * n.r * n.r, DType::f32)});
    p.launches.push_back({"pair_scales"});
  }
  if (!outer_tiles(n, false).project_first) {
    p.launches.push_back({"outer_forward"});
    return;
  }
  const ProjectedChunks chunks(n, weight.dtype(), c.spec.library_workspace_bytes);
  p.workspaces.push_back({"projected rows", bytes_of(chunks.per_chunk * n.s * n.cz * n.c, weight.dtype())});
  for (int64_t k = 0; k < chunks.count(); ++k) {
    p.launches.push_back({"project_rows"});
    p.launches.push_back({"multiply_projected"});
  }
}

void plan_backward_gpu(const PlanContext& c, Plan& p) {
  const auto& attrs = c.as<OuterProductMeanAttrs>();
  using In = OuterProductMeanBackwardInput;
  const Tensor& weight = c.in[In::weight];
  const DType low = weight.dtype();
  const OuterBackwardPlan b(sizes_of(c.in[In::a], weight), attrs.needs, counts_pairs(attrs, c.in[In::mask]),
                            low, c.spec.library_workspace_bytes);
  p.workspaces = {};
  p.launches = {};
  const auto space = [&](const char* label, int64_t elements, DType t) {
    if (elements > 0) p.workspaces.push_back({label, bytes_of(elements, t)});
  };
  space("pair factors", b.scale_floats, DType::f32);
  space("projected rows", b.projected, low);
  space(b.project ? "weight sums" : "weight sums of pieces", b.weight_floats, DType::f32);
  space("bias sums of pieces", b.bias_floats, DType::f32);
  space("sums of da of pieces", b.da_floats, DType::f32);
  space("sums of db of pieces", b.db_floats, DType::f32);
  const auto launch = [&](bool wanted, const char* name) {
    if (wanted) p.launches.push_back({name});
  };
  launch(b.scales, "pair_scales");
  launch(!b.project && (b.da || b.db), "outer_sides");
  launch(!b.project && b.weight, "outer_weight");
  for (int64_t k = 0; k < b.chunks; ++k) {
    launch(b.db, "project_rows");
    launch(b.db, "projected_db");
    launch(b.da || b.weight, "projection_gradient");
    launch(b.da, "projected_da");
    launch(b.weight, "projected_dweight");
  }
  launch(b.bias, "outer_bias");
  launch(b.sums(), "sum_gradients");
}

AttrsPtr make_attrs(OuterNormalize normalize, uint32_t needs = 0) {
  return std::make_shared<OuterProductMeanAttrs>(OuterProductMeanOptions{normalize, 1e-3}, needs);
}

const OpDef backward_op{
    .name = "outer_product_mean_backward",
    .plan = plan_backward,
    .kernels = outer_product_mean_backward_kernels,
    .gradient = Gradient::none,
    .gradient_note = "second derivatives are not offered",
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "outer product first, masked",
               .inputs = {normal({2, 4, 4, 8}), normal({2, 40, 4, 2}), normal({2, 40, 4, 2}), normal({8, 4}),
                          mask01({2, 40, 4})},
               .attrs = make_attrs(OuterNormalize::divide_after, kDifferentiable)},
              {.name = "projection first",
               .inputs = {normal({2, 7, 7, 4}), normal({2, 2, 7, 3}), normal({2, 2, 7, 3}), normal({4, 9}),
                          absent()},
               .attrs = make_attrs(OuterNormalize::divide_before, kDifferentiable)},
              {.name = "only b",
               .inputs = {normal({1, 7, 7, 4}), normal({1, 1, 7, 3}), normal({1, 1, 7, 3}), normal({4, 9}),
                          absent()},
               .attrs = make_attrs(OuterNormalize::none, input_bits(OuterProductMeanInput::b))},
              {.name = "several tiles",
               .inputs = {normal({1, 13, 13, 3}), normal({1, 2, 13, 16}), normal({1, 2, 13, 16}),
                          normal({3, 256}), absent()},
               .attrs = make_attrs(OuterNormalize::none,
                                   kDifferentiable & ~input_bits(OuterProductMeanInput::bias))}};
        },
    .gpu_plan = plan_backward_gpu};

TensorList backward(BackwardContext& c) {
  const auto& attrs = c.as<OuterProductMeanAttrs>();
  const Tensor g = take_gradient(c);
  SavedReader saved(c);
  const Tensor a = saved.take(), b = saved.take(), weight = saved.take(),
               mask = saved.take(attrs.normalize != OuterNormalize::none &&
                                 was_given(c, OuterProductMeanInput::mask));
  const uint32_t needs = c.needs_grad & kDifferentiable;
  const auto with_needs =
      std::make_shared<OuterProductMeanAttrs>(OuterProductMeanOptions{attrs.normalize, attrs.eps}, needs);
  return by_input(call(backward_op, {g, a, b, weight, mask}, with_needs), needs,
                  OuterProductMeanInput::n_inputs);
}

const OpDef forward_op{
    .name = "outer_product_mean",
    .fingerprint = fingerprint_by<&OuterProductMeanAttrs::normalize, &OuterProductMeanAttrs::eps>,
    .plan = plan_forward,
    .kernels = outer_product_mean_kernels,
    .gradient = Gradient::differentiable,
    .backward = backward,
    .precision = Precision::low,
    .low_inputs = kDifferentiable,
    .recompute = Recompute::dear,
    .cases =
        [] {
          const OuterNormalize after = OuterNormalize::divide_after, before = OuterNormalize::divide_before;
          return std::vector<OpCase>{
              {.name = "outer product first, masked, divided after",
               .inputs = {normal({2, 40, 4, 2}), normal({2, 40, 4, 2}), normal({8, 4}), normal({8}),
                          mask01({2, 40, 4})},
               .attrs = make_attrs(after)},
              {.name = "outer product first, no mask, divided before",
               .inputs = {normal({1, 33, 5, 3}), normal({1, 33, 5, 3}), normal({9, 9}), absent(), absent()},
               .attrs = make_attrs(before)},
              {.name = "projection first, masked, divided before",
               .inputs = {normal({2, 3, 7, 3}), normal({2, 3, 7, 3}), normal({4, 9}), normal({4}),
                          mask01({2, 3, 7})},
               .attrs = make_attrs(before)},
              {.name = "projection first, one row, not divided",
               .inputs = {normal({2, 1, 9, 5}), normal({2, 1, 9, 5}), normal({6, 25}), normal({6}), absent()},
               .attrs = make_attrs(OuterNormalize::none)},
              {.name = "several tiles",
               .inputs = {normal({1, 40, 11, 16}), normal({1, 40, 11, 16}), normal({3, 256}), normal({3}),
                          mask01({1, 40, 11})},
               .attrs = make_attrs(after)}};
        },
    .gpu_plan = plan_forward_gpu};

// Of other ops, for tensors without elements.
Tensor composed(const Tensor& a, const Tensor& b, const Tensor& weight, const Tensor& bias, const Tensor& mask,
                const OuterProductMeanOptions& options) {
  const int64_t S = a.size(1), R = a.size(2), c = a.size(3);
  Tensor outer = cast(reshape(einsum("bsic,bsjd->bijcd", {a, b}), {a.size(0), R, R, c * c}), weight.dtype());
  Tensor count;  // rows that cover both
  if (counts_pairs(OuterProductMeanAttrs(options), mask))
    count = cast(unsqueeze(einsum("bsi,bsj->bij", {mask, mask}), -1), outer.dtype());
  if (options.normalize == OuterNormalize::divide_before)
    outer = count.defined() ? div(outer, add(count, relu(affine(count, -1.0, 1.0))))
                            : scale(outer, 1.0 / static_cast<double>(std::max<int64_t>(S, 1)));
  const Tensor made = linear(outer, weight, bias);
  if (options.normalize != OuterNormalize::divide_after) return made;
  return count.defined() ? div(made, affine(count, 1.0, options.eps))
                         : scale(made, 1.0 / (options.eps + static_cast<double>(S)));
}

}  // namespace

Tensor outer_product_mean(const Tensor& a, const Tensor& b, const Tensor& weight, const Tensor& bias,
                          const Tensor& mask, const OuterProductMeanOptions& options) {
  const TensorList in{a, b, weight, bias, mask};
  if (any_empty(in)) return composed(a, b, weight, bias, mask, options);
  return call(forward_op, in, std::make_shared<OuterProductMeanAttrs>(options))[0];
}

std::vector<const OpDef*> outer_product_mean_ops() { return {&forward_op, &backward_op}; }

}  // namespace reckon::ops
