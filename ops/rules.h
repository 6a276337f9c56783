// Shape, type and cost rules that several ops share. Used in plans only.
#pragma once

#include "ops/op.h"

namespace reckon::ops {

// Bytes of the elements a tensor shows (a broadcast view counts its storage once per distinct element).
int64_t traffic_bytes(const Tensor& t);
int64_t traffic_bytes(const OutputSpec& o);

// Sets bytes_read from all inputs and bytes_written from all outputs that are not views.
void set_traffic(Plan& plan, const PlanContext& ctx);

// Plan of an elementwise op: one output of the broadcast shape, one launch named `name`, and per output element
// `flops` vector FLOPs and `special` special functions.
Plan elementwise_plan(const PlanContext& ctx, const char* name, DType out, int64_t flops, int64_t special);

// All axes but the last, as one.
int64_t rows_of(const Tensor& t);

// Whether one of them is given and has no element. Fused ops leave calls that their tiles do not take to the ops they
// are made of.
bool any_empty(std::span<const Tensor> tensors);

// What sums, statistics and the gradients of parameters are held in.
inline DType accumulation_dtype(DType t) { return t == DType::f64 ? DType::f64 : DType::f32; }

// The float type a binary op computes its result in.
DType promoted_dtype(const PlanContext& ctx);

// The shape with another extent of its last axis.
inline Shape with_last(Shape s, int64_t extent) {
  s[s.rank() - 1] = extent;
  return s;
}

// Bit a: axis a is among `axes`. Error, which names `what`, where one stands twice or is out of range.
uint32_t axes_mask(const Dims& axes, int rank, const char* what);

void check_rank_at_least(const Tensor& t, int rank, const char* what);
void check_floating(const Tensor& t, const char* what);
void check_shape(const Tensor& t, const Shape& expected, const char* what);

// Case helpers.
inline InputSpec normal(Shape s) { return {.shape = s}; }
inline InputSpec positive(Shape s) { return {.shape = s, .kind = InputKind::positive}; }
inline InputSpec unit(Shape s) { return {.shape = s, .kind = InputKind::unit}; }  // in (0, 1)
inline InputSpec mask01(Shape s) { return {.shape = s, .kind = InputKind::mask01, .no_grad = true}; }
inline InputSpec index(Shape s, int64_t limit) {
  return {.shape = s, .kind = InputKind::index, .index_limit = limit, .no_grad = true};
}
inline InputSpec statistic(Shape s) {  // what forward ops keep of rows for backward: f32, or f64 with f64
  return {.shape = s, .kind = InputKind::positive, .fixed_f32 = true};
}
// Two of them for each row, [2, ..].
inline InputSpec two_statistics(const Shape& rows) {
  Shape s{2};
  for (int64_t extent : rows) s.push_back(extent);
  InputSpec spec = statistic(s);
  spec.fixed_axes = 1;
  return spec;
}
inline InputSpec absent() { return {.optional_absent = true}; }

}  // namespace reckon::ops
