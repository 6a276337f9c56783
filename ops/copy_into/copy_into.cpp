#include "ops/copy_into/copy_into.h"

#include <array>

#include "ops/cast/cast.h"
#include "ops/copy_into/copy_into_inputs.h"
#include "ops/copy_into/copy_into_kernel.h"
#include "ops/layouts.h"
#include "ops/rules.h"

namespace reckon::ops {
namespace {

Plan plan_copy_into(const PlanContext& c) {
  const Tensor &target = c.in[copy_into_in::target], &source = c.in[copy_into_in::source];
  check_rank_at_least(target, 0, "copy_into's target");
  RECKON_CHECK(source.defined() && source.dtype() == target.dtype() && source.shape() == target.shape(),
               "copy_into needs a source of the target's shape and type, {}, got {} (cast or slice it first)",
               describe(target), source.defined() ? describe(source) : "nothing");
  for (int i = 0; i < target.rank(); ++i)
    RECKON_CHECK(target.size(i) == 1 || target.strides()[i] != 0 || target.numel() == 0,
                 "copy_into cannot write to a broadcast target: {} has stride 0 on axis {}", describe(target),
                 i);
  Plan p;
  p.outputs = {
      {.shape = target.shape(), .dtype = target.dtype(), .alias_of = copy_into_in::target, .writes = true}};
  p.launches = {{"copy_into", LaunchKind::copy}};
  p.cost.bytes_read = traffic_bytes(source);
  p.cost.bytes_written = traffic_bytes(target);
  return p;
}

const OpDef copy_into_op{.name = "copy_into",
                         .plan = plan_copy_into,
                         .kernels = copy_into_kernels,
                         .layouts = {.any = ~0u},
                         .gradient_note = "overwrites its target in place, outside the graph",
                         .recompute = Recompute::cheap,
                         .cases = [] {
                           return std::vector<OpCase>{
                               {.name = "vectors", .inputs = {normal({5}), normal({5})}},
                               {.name = "rows", .inputs = {normal({2, 3, 7}), normal({2, 3, 7})}},
                               {.name = "transposed source",
                                .inputs = {normal({3, 130, 65}), {.shape = {3, 130, 65}, .transposed = true}}}};
                         }};

}  // namespace

void copy_into(const Tensor& target, const Tensor& source) {
  const Tensor to = target.detached(), from = source.detached();
  const std::array<Tensor, 2> in{to, overlap_in_other_layout(to, from) ? copy(from) : from};
  dispatch(copy_into_op, in);
}

std::vector<const OpDef*> copy_into_ops() { return {&copy_into_op}; }

}  // namespace reckon::ops
