#include "ops/attention/attention.h"

#include <algorithm>

#include "ops/attention/attention_reference.h"
#include "ops/cast/cast.h"
#include "ops/matmul/matmul.h"
#include "ops/plan/fused_plan.h"
#include "ops/view/view.h"

RECKON_KERNEL(attention)
RECKON_KERNEL(attention_backward)

namespace reckon::ops {
namespace {

AttentionShape shape_of(const Tensor& q, const Tensor& k, bool causal) {
  return {q.size(0), q.size(1), q.size(2), k.size(2), q.size(3), k.size(3), q.size(4), causal};
}

AttentionShape checked_shape(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask,
                             const Tensor& bias, const AttentionAttrs& a) {
  for (const auto& [t, what] :
       {std::pair{&q, "attention's q"}, std::pair{&k, "attention's k"}, std::pair{&v, "attention's v"}}) {
    check_floating(*t, what);
    RECKON_CHECK(t->rank() == 5, "{} must be [batch, rows, heads, length, width], got {}", what, describe(*t));
  }
  const AttentionShape s = shape_of(q, k, a.causal);
  check_shape(k, {s.B, s.N, s.Hkv, s.Lk, s.D}, "attention's k (batch, rows and width as q)");
  check_shape(v, k.shape(), "attention's v (as k)");
  RECKON_CHECK(
      s.Hkv > 0 ? s.H % s.Hkv == 0 : s.H == 0,
      "attention with {} query heads and {} key/value heads: the first must be a multiple of the second", s.H,
      s.Hkv);
  RECKON_CHECK(s.D <= kMostAttentionWidth,
               "attention supports a width of up to {} per head, got {} (are the heads split?)",
               kMostAttentionWidth, s.D);
  RECKON_CHECK(!a.causal || s.Lk >= s.Lq,
               "causal attention needs at least as many keys as queries, got {} and {}: the first queries "
               "would see nothing",
               s.Lk, s.Lq);
  if (mask.defined()) {
    check_floating(mask, "attention's key mask");
    check_shape(mask, {s.B, s.N, s.Lk}, "attention's key mask");
  }
  if (bias.defined()) {
    check_floating(bias, "attention's bias");
    RECKON_CHECK(bias.rank() == 5 && (bias.size(0) == 1 || bias.size(0) == s.B) &&
                     (bias.size(1) == 1 || bias.size(1) == s.N) && bias.size(2) == s.H &&
                     bias.size(3) == s.Lq && bias.size(4) == s.Lk,
                 "attention's bias must be [{} or 1, {} or 1, {}, {}, {}], got {}", s.B, s.N, s.H, s.Lq, s.Lk,
                 describe(bias));
  }
  for (const Tensor* t : {&k, &v, &mask, &bias})
    RECKON_CHECK(!t->defined() || (t->dtype() == DType::f64) == (q.dtype() == DType::f64),
                 "attention mixes f64 with another type: q {}, other {}", describe(q), describe(*t));
  return s;
}

// As checked_shape, for kernels: attention() leaves tensors without elements to other ops.
AttentionShape shape_with_elements(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask,
                                   const Tensor& bias, const AttentionAttrs& a) {
  const AttentionShape s = checked_shape(q, k, v, mask, bias, a);
  RECKON_CHECK(q.numel() > 0 && k.numel() > 0, "attention's kernels take tensors with elements, got q {}, k {}",
               describe(q), describe(k));
  return s;
}

int64_t product(std::initializer_list<int64_t> factors) {
  int64_t n = 1;
  for (int64_t f : factors) n = checked_multiply(n, f, "attention's FLOPs");
  return n;
}

size_t tile_bytes(const PlanContext& c, const AttentionShape& s, bool f64, bool backward, bool amx) {
  if (f64) return static_cast<size_t>(2 * s.Lk) * sizeof(double);  // logits and mask terms of one row
  return static_cast<size_t>(c.spec.threads) * static_cast<size_t>(attention_tile_floats(s.D, backward, amx)) *
         sizeof(float);
}

Plan plan_attention(const PlanContext& c) {
  const auto& a = c.as<AttentionAttrs>();
  using In = AttentionInput;
  const Tensor &q = c.in[In::q], &k = c.in[In::k], &v = c.in[In::v], &mask = c.in[In::key_mask],
               &bias = c.in[In::bias];
  const AttentionShape s = shape_with_elements(q, k, v, mask, bias, a);
  const int64_t heads = product({s.B, s.N, s.H}), pairs = product({heads, s.visible_pairs()}),
                rows = product({heads, s.Lq});
  const bool amx = attention_on_amx(c.spec.isa_level, q.dtype(), k.dtype(), v.dtype());
  Plan p;
  p.outputs = {{.shape = {s.B, s.N, s.Lq, s.H, s.D}, .dtype = q.dtype()},
               {.shape = {kAttentionStatistics, s.B, s.N, s.H, s.Lq},
                .dtype = accumulation_dtype(q.dtype()),
                .label = "row statistics",
                .differentiable = false}};
  p.launches = {{"attention"}};
  p.workspaces = {{"attention tiles", tile_bytes(c, s, q.dtype() == DType::f64, false, amx)}};
  for (int i = 0; i < In::n_inputs; ++i)
    if (c.in[static_cast<size_t>(i)].defined()) p.saves.push_back({false, i});
  p.saves.push_back({true, AttentionOutput::out});
  p.saves.push_back({true, AttentionOutput::statistics});
  p.cost.matmul_flops = product({4, pairs, s.D});
  p.cost.vector_flops = product({pairs, 4 + mask.defined() + bias.defined()}) + product({rows, s.D}) +
                        (mask.defined() ? 2 * s.B * s.N * s.Lk : 0);
  p.cost.special = pairs + rows;
  set_traffic(p, c);
  return p;
}

// Blocks and rows of statistics are counted in 32 bits there, and tiles of wide heads need shared
// memory that not every GPU has.
void check_gpu_shape(const PlanContext& c, const AttentionShape& s) {
  constexpr int64_t kMost = int64_t{1} << 31;
  constexpr size_t kWide = 160 * 1024;
  RECKON_CHECK(
      s.B * s.N * s.H < kMost / std::max(s.Lq, s.Lk),
      "attention on a GPU takes fewer than 2^31 queries and keys over all heads, got {} heads of {} and {}",
      s.B * s.N * s.H, s.Lq, s.Lk);
  RECKON_CHECK(s.D <= 128 || c.spec.shared_bytes_per_block >= kWide,
               "attention with a width of {} per head needs {} bytes of shared memory a block on a GPU, and "
               "this one has {}: leave attention out of "
               "--fuse",
               s.D, kWide, c.spec.shared_bytes_per_block);
}

// Tiles lie in shared memory there.
void plan_attention_gpu(const PlanContext& c, Plan& p) {
  check_gpu_shape(c, shape_of(c.in[AttentionInput::q], c.in[AttentionInput::k], c.as<AttentionAttrs>().causal));
  p.workspaces = {};
}

Shape in_order(const Tensor& t, const int (&axes)[5]) {
  Shape s;
  for (int axis : axes) s.push_back(t.size(axis));
  return s;
}

Plan plan_attention_backward(const PlanContext& c) {
  const auto& a = c.as<AttentionBackwardAttrs>();
  using In = AttentionBackwardInput;
  const Tensor &g = c.in[In::dout], &q = c.in[In::q], &k = c.in[In::k], &v = c.in[In::v],
               &mask = c.in[In::key_mask], &bias = c.in[In::bias], &o = c.in[In::out],
               &statistics = c.in[In::statistics];
  const AttentionShape s = shape_with_elements(q, k, v, mask, bias, a);
  check_shape(g, {s.B, s.N, s.Lq, s.H, s.D}, "attention's output gradient");
  check_shape(o, g.shape(), "attention's output");
  check_shape(statistics, {kAttentionStatistics, s.B, s.N, s.H, s.Lq}, "attention's row statistics");
  RECKON_CHECK(statistics.dtype() == accumulation_dtype(q.dtype()),
               "attention_backward needs row statistics of {}, got {}", name_of(accumulation_dtype(q.dtype())),
               describe(statistics));
  RECKON_CHECK(!a.wants_bias || bias.defined(),
               "attention_backward is asked for the gradient of an absent bias");
  const bool f64 = q.dtype() == DType::f64;
  const bool amx = attention_on_amx(c.spec.isa_level, g.dtype(), q.dtype(), k.dtype(), v.dtype());
  const int64_t heads = product({s.B, s.N, s.H}), pairs = product({heads, s.visible_pairs()}),
                rows = product({heads, s.Lq});
  Plan p;
  if (a.wants_q) p.outputs.push_back({.shape = in_order(q, a.q_axes), .dtype = q.dtype(), .label = "dq"});
  if (a.wants_k) p.outputs.push_back({.shape = in_order(k, a.k_axes), .dtype = k.dtype(), .label = "dk"});
  if (a.wants_v) p.outputs.push_back({.shape = in_order(v, a.v_axes), .dtype = v.dtype(), .label = "dv"});
  if (a.wants_bias) p.outputs.push_back({.shape = bias.shape(), .dtype = bias.dtype(), .label = "dbias"});
  p.workspaces = {{"attention tiles", tile_bytes(c, s, f64, true, amx)}};
  if (a.wants_scores()) {
    p.workspaces.push_back(
        {"attention delta", static_cast<size_t>(rows) * size_of(accumulation_dtype(q.dtype()))});
    p.launches.push_back({"attention_delta"});
  }
  const AttentionPasses passes =
      attention_passes(s, a, bias.defined() ? bias.size(0) : 1, bias.defined() ? bias.size(1) : 1);
  const auto floats = [&](const char* label, int64_t n) {
    if (!f64) p.workspaces.push_back({label, static_cast<size_t>(n) * sizeof(float)});
  };
  if (passes.single) {
    p.launches.push_back({"attention_dq_dk_dv"});
    floats("dq in f32", c.spec.threads * attention_query_sums(s));
    if (passes.chunks > 0) {
      p.launches.push_back({"attention_dbias_sum"});
      floats("partial sums of dbias", passes.chunks * bias.numel());
    }
  } else {
    if (a.wants_k || a.wants_v) p.launches.push_back({"attention_dk_dv"});
    if (a.wants_q || a.wants_bias) p.launches.push_back({"attention_dq_dbias"});
    if (a.wants_bias && bias.dtype() != DType::f32 && (bias.size(0) < s.B || bias.size(1) < s.N))
      floats("dbias in f32", bias.numel());
  }
  const int64_t products = 1 + a.wants_v + a.wants_scores() + a.wants_q + a.wants_k;
  p.cost.matmul_flops = product({2 * products, pairs, s.D});
  p.cost.vector_flops =
      product({pairs, 3 + mask.defined() + bias.defined() + 2 * a.wants_scores() + a.wants_bias}) +
      product({rows, s.D, 2 * a.wants_scores() + a.wants_q}) + (a.wants_k ? k.numel() : 0) +
      (mask.defined() ? 2 * s.B * s.N * s.Lk : 0);
  p.cost.special = pairs;
  set_traffic(p, c);
  return p;
}

// Every kernel owns what it writes: dk and dv by tiles of keys, dq by tiles of queries and with it the gradient
// of a bias that no rows share; a shared bias has a kernel of its own. The logits are computed anew in each,
// the gradients of the logits in each but for dv alone.
void plan_attention_backward_gpu(const PlanContext& c, Plan& p) {
  const auto& a = c.as<AttentionBackwardAttrs>();
  using In = AttentionBackwardInput;
  const Tensor &q = c.in[In::q], &k = c.in[In::k], &bias = c.in[In::bias];
  const AttentionShape s = shape_of(q, k, a.causal);
  check_gpu_shape(c, s);
  p.workspaces = {};
  p.launches = {};
  if (a.wants_scores()) {
    p.workspaces.push_back(
        {"attention delta", static_cast<size_t>(product({s.B, s.N, s.H, s.Lq})) * sizeof(float)});
    p.launches.push_back({"attention_delta"});
  }
  if (a.wants_k || a.wants_v) p.launches.push_back({"attention_dk_dv"});
  const bool shared = a.wants_bias && attention_bias_sharers(s, bias.size(0), bias.size(1)) > 1;
  if (a.wants_q || (a.wants_bias && !shared))
    p.launches.push_back({a.wants_bias && !shared ? "attention_dq_dbias" : "attention_dq"});
  if (!shared) return;
  p.launches.push_back({"attention_dbias"});
  const int64_t ranges = attention_bias_ranges(s, bias.size(0), bias.size(1));
  if (ranges == 1) return;
  p.workspaces.push_back({"partial sums of dbias", static_cast<size_t>(ranges * bias.numel()) * sizeof(float)});
  p.launches.push_back({"attention_dbias_sum"});
}

// Axes from the slowest to the fastest in memory.
void set_memory_order(const Tensor& t, int (&axes)[5]) {
  std::stable_sort(axes, axes + 4, [&](int x, int y) { return t.strides()[x] > t.strides()[y]; });
}

Tensor in_logical_order(const Tensor& t, const int (&axes)[5]) {
  Dims back = Dims::filled(5, 0);
  for (int p = 0; p < 5; ++p) back[axes[p]] = p;
  return t.permuted(back);
}

std::vector<OpCase> backward_cases() {
  std::vector<OpCase> cases;
  const auto add = [&](const char* name, AttentionShape s, bool mask, Shape bias, bool q, bool k, bool v) {
    const Shape query{s.B, s.N, s.H, s.Lq, s.D}, key{s.B, s.N, s.Hkv, s.Lk, s.D}, out{s.B, s.N, s.Lq, s.H, s.D};
    auto attrs = std::make_shared<AttentionBackwardAttrs>(AttentionAttrs(0.1, s.causal, -20.0), q, k, v,
                                                          bias.rank() > 0);
    const int other[5] = {0, 3, 1, 2, 4};
    std::copy(other, other + 5, attrs->k_axes);
    cases.push_back(
        {.name = name,
         .inputs = {normal(out), normal(query), normal(key), normal(key),
                    mask ? mask01({s.B, s.N, s.Lk}) : absent(), bias.rank() > 0 ? normal(bias) : absent(),
                    normal(out), two_statistics({s.B, s.N, s.H, s.Lq})},
         .attrs = attrs});
  };
  add("grouped heads, causal", {2, 1, 4, 2, 5, 7, 6, true}, false, {}, true, true, true);
  add("mask, bias over the rows", {1, 3, 2, 2, 70, 67, 9, false}, true, {1, 1, 2, 70, 67}, true, true, true);
  add("bias of its own", {2, 2, 1, 1, 3, 66, 16, false}, false, {2, 2, 1, 3, 66}, false, true, false);
  add("one pass, grouped heads, causal", {2, 4, 4, 2, 66, 70, 9, true}, true, {}, true, true, true);
  add("one pass, bias in chunks", {1, 5, 4, 4, 67, 65, 6, false}, true, {1, 1, 4, 67, 65}, true, true, true);
  add("one pass, bias of its own", {2, 4, 2, 2, 9, 70, 4, true}, false, {2, 4, 2, 9, 70}, true, true, true);
  add("v alone", {1, 1, 2, 1, 66, 66, 5, true}, true, {}, false, false, true);
  add("bias alone", {2, 1, 2, 2, 9, 10, 4, false}, false, {1, 1, 2, 9, 10}, false, false, false);
  return cases;
}

const OpDef attention_backward_op{
    .name = "attention_backward",
    .plan = plan_attention_backward,
    .kernels = attention_backward_kernels,
    .layouts = {.any = input_bits(AttentionBackwardInput::key_mask),
                .rows = input_bits(AttentionBackwardInput::q, AttentionBackwardInput::k,
                                   AttentionBackwardInput::v, AttentionBackwardInput::bias)},
    .gradient = Gradient::none,
    .gradient_note = "second derivatives are not offered",
    .cases = backward_cases,
    .gpu_plan = plan_attention_backward_gpu};

TensorList attention_backward(BackwardContext& c) {
  using In = AttentionInput;
  SavedReader saved(c);
  const Tensor q = saved.take(), k = saved.take(), v = saved.take();
  const Tensor mask = saved.take(was_given(c, In::key_mask)), bias = saved.take(was_given(c, In::bias));
  const Tensor o = saved.take(), statistics = saved.take();
  auto a = std::make_shared<AttentionBackwardAttrs>(c.as<AttentionAttrs>(), c.needs(In::q), c.needs(In::k),
                                                    c.needs(In::v), bias.defined() && c.needs(In::bias));
  set_memory_order(q, a->q_axes);
  set_memory_order(k, a->k_axes);
  set_memory_order(v, a->v_axes);
  const Tensor g = take_gradient(c);
  TensorList made = call(attention_backward_op, {g, q, k, v, mask, bias, o, statistics}, a), out(In::n_inputs);
  size_t i = 0;
  if (a->wants_q) out[In::q] = in_logical_order(made[i++], a->q_axes);
  if (a->wants_k) out[In::k] = in_logical_order(made[i++], a->k_axes);
  if (a->wants_v) out[In::v] = in_logical_order(made[i++], a->v_axes);
  if (a->wants_bias) out[In::bias] = made[i++];
  return out;
}

std::vector<OpCase> forward_cases() {
  std::vector<OpCase> cases;
  const auto add = [&](const char* name, AttentionShape s, bool mask, Shape bias) {
    cases.push_back(
        {.name = name,
         .inputs = {normal({s.B, s.N, s.H, s.Lq, s.D}), normal({s.B, s.N, s.Hkv, s.Lk, s.D}),
                    normal({s.B, s.N, s.Hkv, s.Lk, s.D}), mask ? mask01({s.B, s.N, s.Lk}) : absent(),
                    bias.rank() > 0 ? normal(bias) : absent()},
         .attrs = std::make_shared<AttentionAttrs>(0.2, s.causal, -30.0)});
  };
  add("grouped heads, causal", {2, 1, 4, 2, 5, 7, 6, true}, false, {});
  add("mask, bias over the rows", {1, 3, 2, 2, 9, 9, 8, false}, true, {1, 1, 2, 9, 9});
  add("several tiles, bias over the batches", {2, 2, 1, 1, 67, 131, 17, false}, true, {1, 2, 1, 67, 131});
  add("several tiles, causal, bias of its own", {1, 1, 2, 1, 70, 139, 33, true}, false, {1, 1, 2, 70, 139});
  add("one key", {1, 2, 1, 1, 3, 1, 4, false}, false, {});
  return cases;
}

const OpDef attention_op{
    .name = "attention",
    .fingerprint = fingerprint_by<&AttentionAttrs::scale, &AttentionAttrs::mask_value, &AttentionAttrs::causal>,
    .plan = plan_attention,
    .kernels = attention_kernels,
    .layouts = {.any = input_bits(AttentionInput::key_mask),
                .rows =
                    input_bits(AttentionInput::q, AttentionInput::k, AttentionInput::v, AttentionInput::bias)},
    .gradient = Gradient::differentiable,
    .backward = attention_backward,
    .precision = Precision::low,
    .low_inputs = input_bits(AttentionInput::q, AttentionInput::k, AttentionInput::v),
    .recompute = Recompute::dear,
    .cases = forward_cases,
    .gpu_plan = plan_attention_gpu};

// Without keys a query takes up nothing: zeros, as a product over no keys gives them.
Tensor without_elements(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionShape& s) {
  const int64_t group = s.Hkv > 0 ? s.H / s.Hkv : 0;
  const Tensor queries = reshape(q, {s.B, s.N, s.Hkv, group, s.Lq, s.D});
  const Tensor pairs = matmul(queries, transpose(unsqueeze(k, 3), -2, -1));
  const Tensor o = reshape(matmul(pairs, unsqueeze(v, 3)), {s.B, s.N, s.H, s.Lq, s.D});
  return contiguous(cast(permute(o, {0, 1, 3, 2, 4}), q.dtype()));
}

}  // namespace

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& key_mask, const Tensor& bias,
                 const AttentionOptions& options) {
  const auto attrs = std::make_shared<AttentionAttrs>(options.scale, options.causal, options.mask_value);
  if (any_empty({&q, 1}) || any_empty({&k, 1}))
    return without_elements(q, k, v, checked_shape(q, k, v, key_mask, bias, *attrs));
  return call(attention_op, {q, k, v, key_mask, bias}, attrs)[0];
}

std::vector<const OpDef*> attention_ops() { return {&attention_op, &attention_backward_op}; }

}  // namespace reckon::ops
