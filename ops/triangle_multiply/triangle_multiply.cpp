#include "ops/triangle_multiply/triangle_multiply.h"

#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/einsum/einsum.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/linear/linear.h"
#include "ops/mul_sigmoid/mul_sigmoid.h"
#include "ops/plan/fused_plan.h"
#include "ops/triangle_multiply/triangle_multiply_backward_kernel.h"
#include "ops/triangle_multiply/triangle_multiply_gpu.h"
#include "ops/view/view.h"

namespace reckon::ops {
namespace {

using namespace triangle;

constexpr const char* kInputNames[n_inputs] = {"z",        "mask",     "ln_in_w", "ln_in_b", "w_a",  "b_a",
                                               "w_ag",     "b_ag",     "w_b",     "b_b",     "w_bg", "b_bg",
                                               "ln_out_w", "ln_out_b", "w_z",     "b_z",     "w_g",  "b_g"};
constexpr const char* kKeptNames[n_kept] = {
    "projection a", "gate a",  "projection b", "gate b",   "triangle", "output projection",
    "output gate",  "mean in", "rstd in",      "mean out", "rstd out"};
constexpr uint32_t kWeights = input_bits(w_a, w_ag, w_b, w_bg, w_z, w_g),
                   kMatrices = kWeights | input_bits(b_a, b_ag, b_b, b_bg, b_z, b_g),
                   kDifferentiable = ((1u << n_inputs) - 1) & ~input_bits(mask);

bool is_bias(int k) { return k == b_a || k == b_ag || k == b_b || k == b_bg || k == b_z || k == b_g; }

struct Sizes {
  int64_t batches, r, rows, cz, c, c_out, channels;
  DType low, native;
  TileHeights tile;  // of the rows of one batch element
};

// `in(k)`: the forward input k. Checks shapes; biases are checked where given.
template <class In>
Sizes check_sizes(In in) {
  const Tensor &zt = in(z), &wa = in(w_a), &wz = in(w_z);
  RECKON_CHECK(zt.defined() && zt.rank() == 4 && zt.size(1) == zt.size(2) && zt.numel() > 0,
               "triangle_multiply takes z [B, R, R, c_z], got {}", zt.defined() ? describe(zt) : "nothing");
  for (int k : {ln_in_w, w_a, w_ag, w_b, w_bg, ln_out_w, w_z, w_g})
    RECKON_CHECK(in(k).defined(), "triangle_multiply got no {}", kInputNames[k]);
  RECKON_CHECK(wa.rank() == 2 && wz.rank() == 2,
               "triangle_multiply's w_a and w_z must be matrices, got {} and {}", describe(wa), describe(wz));
  const int64_t cz = zt.size(3), c = wa.size(0), c_out = wz.size(0);
  const auto check = [&](int k, const Shape& s) {
    RECKON_CHECK(!in(k).defined() || in(k).shape() == s, "triangle_multiply of z {}: {} must be {}, got {}",
                 describe(zt), kInputNames[k], to_string(s), describe(in(k)));
  };
  check(mask, zt.shape().slice(0, 3));
  for (int k : {ln_in_w, ln_in_b}) check(k, {cz});
  for (int k : {ln_out_w, ln_out_b}) check(k, {c});
  for (int k : {w_a, w_ag, w_b, w_bg}) {
    check(k, {c, cz});
    check(bias_of(k), {c});
  }
  check(w_z, {c_out, c});
  check(w_g, {c_out, cz});
  for (int k : {b_z, b_g}) check(k, {c_out});
  const int64_t r = zt.size(1);
  return {zt.size(0),
          r,
          zt.size(0) * r * r,
          cz,
          c,
          c_out,
          std::clamp<int64_t>(c, 1, triangle_channels(wa.dtype())),
          wa.dtype(),
          accumulation_dtype(zt.dtype()),
          TileHeights(r * r, rows_per_tile(std::max({cz, c, c_out}), cz))};
}

// Products that both directions make with a weight [out, in] and tiles of the norm's type.
void add_channel_products(GemmScratch& scratch, const Sizes& s) {
  for (int64_t nb : {s.channels, s.c % s.channels ? s.c % s.channels : s.channels})
    scratch.add(s.r, s.r, s.r, s.low, s.low, s.low, nb);
}

Plan plan_forward(const PlanContext& ctx) {
  const auto in = [&](int k) -> const Tensor& { return ctx.in[static_cast<size_t>(k)]; };
  check_fused_types(ctx.in, kMatrices, "triangle_multiply");
  const Sizes s = check_sizes(in);
  const bool keeps = ctx.needs_grad != 0, masked = in(mask).defined();
  const Shape shape = in(z).shape();
  Plan p;
  p.outputs = {{.shape = with_last(shape, s.c_out), .dtype = s.low}};
  if (keeps)
    for (int k = 0; k < n_kept; ++k) {
      const bool statistic = k >= mean_in;
      p.outputs.push_back(
          {.shape = statistic ? shape.slice(0, 3) : with_last(shape, k == o || k == g ? s.c_out : s.c),
           .dtype = statistic ? s.native : s.low,
           .label = kKeptNames[k],
           .differentiable = false});
    }
  GemmScratch scratch(ctx.spec);
  for (int64_t m : {s.tile.full, s.tile.last})
    for (auto [n, k] : {std::pair{s.c, s.cz}, {s.c_out, s.cz}, {s.c_out, s.c}})
      scratch.add(m, n, k, s.low, s.low, s.low);
  add_channel_products(scratch, s);
  const int64_t n = s.r * s.r;
  p.workspaces = {{"products", scratch.bytes()},
                  {"norm tile", bytes_of(s.tile.full * std::max(s.cz, s.c), s.low)},
                  {"channel blocks", bytes_of(3 * padded_elements(s.channels * n), s.low)},
                  {"projections and triangle", bytes_of(keeps ? 0 : 3 * padded_elements(n * s.c), s.low)},
                  {"gate and output tiles",
                   bytes_of(keeps ? 0 : padded_elements(s.tile.full * s.c) + s.tile.full * s.c_out, s.low)},
                  {"statistics", bytes_of(keeps ? 0 : 4 * n, s.native)}};
  for (int64_t b = 0; b < s.batches; ++b)
    p.launches.append({{"triangle_project"}, {"triangle_einsum"}, {"triangle_output"}});
  for (int k = 0; k < n_inputs; ++k)
    if (in(k).defined() && !is_bias(k)) p.saves.push_back({false, k});
  if (keeps)
    for (int k = 0; k < n_kept; ++k) p.saves.push_back({true, 1 + k});

  const NormCost norm_in{NormKind::layer, s.cz, in(ln_in_b).defined()},
      norm_out{NormKind::layer, s.c, in(ln_out_b).defined()};
  int64_t biases = 0;
  for (int k = 0; k < n_inputs; ++k)
    if (is_bias(k) && in(k).defined()) biases += in(k).numel();
  p.cost.matmul_flops = 4 * matmul_flops(s.rows, s.c, s.cz) + matmul_flops(s.rows, s.c_out, s.cz) +
                        matmul_flops(s.rows, s.c_out, s.c) + matmul_flops(s.rows, s.r, s.c);
  // Gates: a sigmoid (2 and an exp) and a product each, and the mask.
  p.cost.vector_flops = s.rows * (norm_in.statistics() + norm_in.rows() + norm_out.statistics() +
                                  norm_out.rows() + biases + 2 * s.c * (masked ? 4 : 3) + 3 * s.c_out);
  p.cost.special = s.rows * (2 + 2 * s.c + s.c_out);
  set_traffic(p, ctx);
  return p;
}

Plan plan_backward(const PlanContext& ctx) {
  const uint32_t needs = ctx.as<TriangleMultiplyAttrs>().needs;
  const auto in = [&](int k) -> const Tensor& { return ctx.in[static_cast<size_t>(triangle_input(k))]; };
  check_fused_types(ctx.in, 0, "triangle_multiply_backward");
  const Sizes s = check_sizes(in);
  const auto wants = [&](int k) { return (needs >> k & 1u) != 0; };
  const bool masked = in(mask).defined();
  const int64_t n = s.r * s.r;
  check_shape(ctx.in[kTriangleDout], with_last(in(z).shape(), s.c_out), "triangle_multiply's output gradient");
  Plan p;
  const GradientPlan grads{p, needs};
  for (int k = 0; k < n_inputs; ++k) {
    if (k == mask || !wants(k)) continue;
    const Shape shape = is_bias(k) ? Shape{in(matrix_of(k)).size(0)} : in(k).shape();
    if (k == z)
      grads.add(k, shape, in(z).dtype(), kInputNames[k]);
    else
      grads.add_parameter(k, shape, s.low, kInputNames[k]);
  }
  const bool through_input = wants(z) || wants(ln_in_w) || wants(ln_in_b);
  const NormCost norm_in{NormKind::layer, s.cz, in(ln_in_b).defined()},
      norm_out{NormKind::layer, s.c, in(ln_out_b).defined()};

  GemmScratch scratch(ctx.spec);
  for (int64_t m : {s.tile.full, s.tile.last}) {
    scratch.add(s.c_out, s.c, m, s.low, s.low, s.native);
    scratch.add(m, s.c, s.c_out, s.low, s.low, s.native);
    for (int64_t width : {s.c, s.c_out}) {
      scratch.add(width, s.cz, m, s.low, s.low, s.native);
      scratch.add(m, s.cz, width, s.low, s.low, s.native);
    }
  }
  add_channel_products(scratch, s);
  p.workspaces = {{"products", scratch.bytes()},
                  {"norm tile", bytes_of(s.tile.full * std::max(s.cz, s.c), s.low)},
                  {"norm gradient tile", bytes_of(s.tile.full * std::max(s.cz, s.c), s.native)},
                  {"gradient tile 1", bytes_of(s.tile.full * std::max(s.c_out, s.c), s.low)},
                  {"gradient tile 2", bytes_of(s.tile.full * s.c, s.low)},
                  {"gradient of the triangle, then of a", bytes_of(n * s.c, s.low)},
                  {"gradient of b", bytes_of(n * s.c, s.low)},
                  {"channel blocks", bytes_of(4 * padded_elements(s.channels * n), s.low)}};
  for (int64_t b = 0; b < s.batches; ++b)
    p.launches.append(
        {{"triangle_output_backward"}, {"triangle_einsum_backward"}, {"triangle_project_backward"}});

  // Output: d_o 3 c_out; dW_z reads LN(t). Channels: a and b rebuilt. Input: gate 6 c_out; each side 6c; with a
  // mask, one more per element of a and b in both places.
  p.cost.matmul_flops =
      matmul_flops(s.rows, s.c_out, s.c) * (1 + wants(w_z)) + 2 * matmul_flops(s.rows, s.r, s.c);
  p.cost.vector_flops = 3 * s.c_out + norm_out.gradients(true, wants(ln_out_w), wants(ln_out_b)) + 2 * s.c * 3 +
                        6 * s.c_out + 2 * s.c * 6 + (masked ? 4 * s.c : 0);
  if (wants(w_z)) p.cost.vector_flops += norm_out.rows();
  bool rebuild = false;
  for (int w : {w_a, w_ag, w_b, w_bg, w_g}) {
    p.cost.matmul_flops += matmul_flops(s.rows, in(w).size(0), s.cz) * (wants(w) + through_input);
    rebuild |= wants(w);
  }
  for (int k = 0; k < n_inputs; ++k)
    if (is_bias(k) && wants(k)) p.cost.vector_flops += in(matrix_of(k)).size(0);
  if (rebuild) p.cost.vector_flops += norm_in.rows();
  p.cost.vector_flops += norm_in.gradients(wants(z), wants(ln_in_w), wants(ln_in_b));
  p.cost.vector_flops *= s.rows;
  p.cost.special = s.rows * (2 * s.c_out + 4 * s.c);
  set_traffic(p, ctx);
  return p;
}

TriangleSizes gpu_sizes(const Sizes& s) {
  RECKON_CHECK(fits_tiles(std::max({s.cz, s.c, s.c_out}), s.low),
               "triangle_multiply on a GPU takes rows of up to 512 bytes ({} elements of {}), got c_z {}, c {} "
               "and c_out {}: leave triangle out of --fuse",
               512 / size_of(s.low), name_of(s.low), s.cz, s.c, s.c_out);
  RECKON_CHECK(s.rows < (int64_t{1} << 31),
               "triangle_multiply on a GPU takes fewer than 2^31 positions, got {}", s.rows);
  return {s.batches, s.r, s.cz, s.c, s.c_out, s.low};
}

void plan_forward_gpu(const PlanContext& ctx, Plan& p) {
  const TriangleSizes s =
      gpu_sizes(check_sizes([&](int k) -> const Tensor& { return ctx.in[static_cast<size_t>(k)]; }));
  const size_t bytes = bytes_of(s.channel_elements(), s.low);
  p.workspaces = {{"library workspace", ctx.spec.library_workspace_bytes},
                  {"a by channels", bytes},
                  {"b by channels", bytes},
                  {"triangle by channels", bytes}};
  p.launches = {{"triangle_project"}, {"triangle_einsum", LaunchKind::library}, {"triangle_output"}};
}

void plan_backward_gpu(const PlanContext& ctx, Plan& p) {
  const uint32_t needs = ctx.as<TriangleMultiplyAttrs>().needs;
  const auto in = [&](int k) -> const Tensor& { return ctx.in[static_cast<size_t>(triangle_input(k))]; };
  const TriangleSizes s = gpu_sizes(check_sizes(in));
  RECKON_CHECK(
      ctx.in[kTriangleDout].dtype() == s.low,
      "triangle_multiply_backward on a GPU needs an output gradient of the weights' type, got {} and {}",
      describe(ctx.in[kTriangleDout]), describe(in(w_a)));
  const TriangleWork work(needs);
  const TriangleSums sums(needs, s);
  const int64_t tall = RowPieces(s.positions()).pieces;
  p.workspaces = {};
  p.launches = {};
  if (work.sides) {
    p.workspaces.push_back({"library workspace", ctx.spec.library_workspace_bytes});
    for (const char* label : {"triangle gradient by channels", "gradient of a by channels", "a by channels",
                              "b by channels, then its gradient"})
      p.workspaces.push_back({label, bytes_of(s.channel_elements(), s.low)});
  }
  if (work.norm_out)
    p.workspaces.push_back({"output norm's sums of pieces", bytes_of(tall * 2 * s.c, DType::f32)});
  if (work.norm_in)
    p.workspaces.push_back({"input norm's sums of pieces", bytes_of(tall * 2 * s.cz, DType::f32)});
  if (work.weights)
    p.workspaces.push_back(
        {"weight sums of pieces", bytes_of(sums.pieces(s.positions()).pieces * sums.floats, DType::f32)});
  if (work.output_rows) p.launches.push_back({"triangle_output_rows"});
  if (work.sides)
    p.launches.append({{"triangle_gather"},
                       {"triangle_einsum", LaunchKind::library},
                       {"triangle_einsum", LaunchKind::library}});
  if (work.input_rows) p.launches.push_back({"triangle_input_rows"});
  if (work.weights) p.launches.push_back({"triangle_weights"});
  if (work.sums) p.launches.push_back({"sum_gradients"});
}

struct CaseSizes {
  int64_t batches, r, cz, c, c_out;
  bool biases, masked;
};

std::vector<InputSpec> forward_inputs(const CaseSizes& s, bool with_biases) {
  std::vector<InputSpec> in(n_inputs, absent());
  in[z] = normal({s.batches, s.r, s.r, s.cz});
  if (s.masked) in[mask] = mask01({s.batches, s.r, s.r});
  in[ln_in_w] = normal({s.cz});
  in[ln_out_w] = normal({s.c});
  for (int k : {w_a, w_ag, w_b, w_bg}) in[k] = normal({s.c, s.cz});
  in[w_z] = normal({s.c_out, s.c});
  in[w_g] = normal({s.c_out, s.cz});
  if (s.biases) {
    in[ln_in_b] = normal({s.cz});
    in[ln_out_b] = normal({s.c});
  }
  if (s.biases && with_biases)
    for (int k = 0; k < n_inputs; ++k)
      if (is_bias(k)) in[k] = normal({k == b_z || k == b_g ? s.c_out : s.c});
  return in;
}

AttrsPtr make_attrs(bool outgoing, uint32_t needs = 0) {
  return std::make_shared<TriangleMultiplyAttrs>(outgoing, 1e-5, needs);
}

OpCase forward_case(const char* name, const CaseSizes& s, bool outgoing) {
  return {.name = name,
          .inputs = forward_inputs(s, true),
          .attrs = make_attrs(outgoing),
          .tolerance_scale = 2.0,
          .why = "six matrix products in a chain, each result rounded to the low type"};
}

OpCase backward_case(const char* name, const CaseSizes& s, bool outgoing, uint32_t needs) {
  OpCase c{.name = name,
           .inputs = {normal({s.batches, s.r, s.r, s.c_out})},
           .attrs = make_attrs(outgoing, needs),
           .tolerance_scale = 2.0,
           .why = "four matrix products in a chain, each result rounded to the low type"};
  for (const InputSpec& spec : forward_inputs(s, false)) c.inputs.push_back(spec);
  const Shape shape{s.batches, s.r, s.r, s.c};
  for (int k = 0; k < n_kept; ++k) {
    if (k < mean_in) {
      c.inputs.push_back(normal(with_last(shape, k == o || k == g ? s.c_out : s.c)));
    } else {
      c.inputs.push_back(statistic(shape.slice(0, 3)));
    }
  }
  return c;
}

const OpDef backward_op{
    .name = "triangle_multiply_backward",
    .plan = plan_backward,
    .kernels = triangle_multiply_backward_kernels,
    .gradient = Gradient::none,
    .gradient_note = "second derivatives are not offered",
    .cases =
        [] {
          return std::vector<OpCase>{
              backward_case("outgoing, everything", {1, 5, 6, 4, 7, true, true}, true, kDifferentiable),
              backward_case("incoming, several channel blocks", {2, 3, 6, 19, 4, false, false}, false,
                            kWeights | input_bits(z, ln_in_w, ln_out_w)),
              backward_case("only the output layer's weight", {1, 4, 3, 5, 2, true, true}, true,
                            input_bits(w_z))};
        },
    .gpu_plan = plan_backward_gpu};

TensorList backward(BackwardContext& c) {
  const auto& attrs = c.as<TriangleMultiplyAttrs>();
  SavedReader saved(c);
  TensorList in{take_gradient(c)};
  for (int k = 0; k < n_inputs; ++k) in.push_back(saved.take(!is_bias(k) && was_given(c, k)));
  for (int k = 0; k < n_kept; ++k) in.push_back(saved.take());
  const uint32_t needs = c.needs_grad & kDifferentiable;
  return by_input(
      call(backward_op, in, std::make_shared<TriangleMultiplyAttrs>(attrs.outgoing, attrs.eps, needs)), needs,
      n_inputs);
}

const OpDef forward_op{
    .name = "triangle_multiply",
    .fingerprint = fingerprint_by<&TriangleMultiplyAttrs::outgoing, &TriangleMultiplyAttrs::eps>,
    .plan = plan_forward,
    .kernels = triangle_multiply_kernels,
    .gradient = Gradient::differentiable,
    .backward = backward,
    .precision = Precision::low,
    .low_inputs = kMatrices,
    .recompute = Recompute::dear,
    .cases =
        [] {
          return std::vector<OpCase>{
              forward_case("outgoing, biases and mask", {2, 5, 6, 4, 7, true, true}, true),
              forward_case("incoming, biases and mask", {1, 5, 6, 4, 7, true, true}, false),
              forward_case("incoming, several channel blocks", {1, 4, 9, 19, 9, false, false}, false),
              forward_case("outgoing, several row tiles", {1, 23, 4, 12, 4, false, true}, true)};
        },
    .gpu_plan = plan_forward_gpu};

// Of other ops, for tensors without elements.
Tensor composed(const Tensor& z_BRRC, const Tensor& mask_BRR, const TriangleMultiplyWeights& w, bool outgoing,
                double eps) {
  const Tensor x = cast(layer_norm(z_BRRC, w.ln_in_w, w.ln_in_b, eps), w.w_a.dtype());
  const auto side = [&](const Tensor& weight, const Tensor& bias, const Tensor& gate, const Tensor& gate_bias) {
    const Tensor gated = mul_sigmoid(linear(x, weight, bias), linear(x, gate, gate_bias));
    return mask_BRR.defined() ? mul(gated, cast(unsqueeze(mask_BRR, -1), gated.dtype())) : gated;
  };
  const Tensor t = einsum(outgoing ? "bikc,bjkc->bijc" : "bkic,bkjc->bijc",
                          {side(w.w_a, w.b_a, w.w_ag, w.b_ag), side(w.w_b, w.b_b, w.w_bg, w.b_bg)});
  const Tensor o = linear(layer_norm(t, w.ln_out_w, w.ln_out_b, eps), w.w_z, w.b_z);
  return mul_sigmoid(o, linear(x, w.w_g, w.b_g));
}

}  // namespace

Tensor triangle_multiply(const Tensor& z_BRRC, const Tensor& mask_BRR, const TriangleMultiplyWeights& w,
                         bool outgoing, double eps) {
  const TensorList in{z_BRRC, mask_BRR, w.ln_in_w, w.ln_in_b,  w.w_a,      w.b_a, w.w_ag, w.b_ag, w.w_b,
                      w.b_b,  w.w_bg,   w.b_bg,    w.ln_out_w, w.ln_out_b, w.w_z, w.b_z,  w.w_g,  w.b_g};
  if (any_empty(in)) return composed(z_BRRC, mask_BRR, w, outgoing, eps);
  return call(forward_op, in, std::make_shared<TriangleMultiplyAttrs>(outgoing, eps))[0];
}

std::vector<const OpDef*> triangle_multiply_ops() { return {&forward_op, &backward_op}; }

}  // namespace reckon::ops
