#include "ops/rules.h"

#include <algorithm>

namespace reckon::ops {

int64_t traffic_bytes(const Tensor& t) {
  if (!t.defined()) return 0;
  int64_t n = 1;
  for (int i = 0; i < t.rank(); ++i)
    if (t.strides()[i] != 0) n *= t.shape()[i];
  return n * static_cast<int64_t>(size_of(t.dtype()));
}

int64_t traffic_bytes(const OutputSpec& o) { return numel(o.shape) * static_cast<int64_t>(size_of(o.dtype)); }

void set_traffic(Plan& plan, const PlanContext& ctx) {
  plan.cost.bytes_read = 0;
  plan.cost.bytes_written = 0;
  for (const Tensor& t : ctx.in) plan.cost.bytes_read += traffic_bytes(t);
  for (const OutputSpec& o : plan.outputs)
    if (o.alias_of < 0 || o.writes) plan.cost.bytes_written += traffic_bytes(o);
}

Plan elementwise_plan(const PlanContext& ctx, const char* name, DType out, int64_t flops, int64_t special) {
  Shape shape = ctx.in[0].shape();
  for (size_t i = 1; i < ctx.in.size(); ++i) shape = broadcast_shapes(shape, ctx.in[i].shape());
  Plan plan;
  plan.outputs = {{.shape = shape, .dtype = out}};
  plan.launches = {{name}};
  const int64_t n = numel(shape);
  plan.cost.vector_flops = checked_multiply(n, flops, "FLOPs");
  plan.cost.special = checked_multiply(n, special, "special functions");
  set_traffic(plan, ctx);
  return plan;
}

DType promoted_dtype(const PlanContext& ctx) {
  DType t = ctx.in[0].dtype();
  for (size_t i = 1; i < ctx.in.size(); ++i)
    if (ctx.in[i].defined()) t = promote(t, ctx.in[i].dtype());
  return t;
}

int64_t rows_of(const Tensor& t) { return t.rank() > 0 ? numel(t.shape().slice(0, t.rank() - 1)) : 1; }

bool any_empty(std::span<const Tensor> tensors) {
  return std::any_of(tensors.begin(), tensors.end(),
                     [](const Tensor& t) { return t.defined() && t.numel() == 0; });
}

uint32_t axes_mask(const Dims& axes, int rank, const char* what) {
  uint32_t mask = 0;
  for (int64_t a : axes) {
    const int axis = normalize_axis(a, rank);
    RECKON_CHECK(!((mask >> axis) & 1u), "{} names axis {} twice: {}", what, axis, to_string(axes));
    mask |= 1u << axis;
  }
  return mask;
}

void check_rank_at_least(const Tensor& t, int rank, const char* what) {
  RECKON_CHECK(t.defined() && t.rank() >= rank, "{} must have at least {} axes, got {}", what, rank,
               describe(t));
}

void check_floating(const Tensor& t, const char* what) {
  RECKON_CHECK(t.defined() && is_compute_type(t.dtype()), "{} must be f32, bf16, f16 or f64, got {}", what,
               describe(t));
}

void check_shape(const Tensor& t, const Shape& expected, const char* what) {
  RECKON_CHECK(t.defined() && t.shape() == expected, "{} must have shape {}, got {}", what, to_string(expected),
               describe(t));
}

}  // namespace reckon::ops
