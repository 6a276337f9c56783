#include "ops/cross_entropy/cross_entropy.h"

#include "ops/cross_entropy/cross_entropy_kernel.h"
#include "ops/plan/fused_plan.h"
#include "runtime/events/scope.h"

namespace reckon::ops {
namespace {

// Values are checked here, outside the kernels, which cannot raise errors. In: the enum of the op's inputs.
template <class In>
void check_targets(KernelArgs& a) {
  const TensorArg& targets = a.in[In::targets];
  const int64_t width = a.in[In::logits].last(), ignored = a.as<CrossEntropyAttrs>().ignore_index;
  const int64_t* target = targets.as<int64_t>();
  for (int64_t i = 0; i < targets.numel(); ++i)
    RECKON_CHECK(
        (target[i] >= 0 && target[i] < width) || target[i] == ignored,
        "cross_entropy in module '{}': target {} at position {} is neither in [0, {}) nor the ignored index {}",
        name_of(context().module), target[i], i, width, ignored);
}

void check_operands(const Tensor& x, const Tensor& targets) {
  check_rank_at_least(x, 1, "cross_entropy's logits");
  check_floating(x, "cross_entropy's logits");
  RECKON_CHECK(x.size(-1) > 0, "cross_entropy needs at least one class, got {}", describe(x));
  RECKON_CHECK(
      targets.defined() && targets.dtype() == DType::i64 && targets.shape() == x.shape().slice(0, x.rank() - 1),
      "cross_entropy's targets must be i64 {} for logits {}, got {}",
      to_string(x.shape().slice(0, x.rank() - 1)), describe(x), describe(targets));
  RECKON_CHECK(x.contiguous() && targets.contiguous(),
               "cross_entropy needs contiguous operands, got strides {} and {}", to_string(x.strides()),
               to_string(targets.strides()));
}

Shape statistics_shape(const Tensor& targets) {
  Shape s{kLossStatistics};
  for (int64_t extent : targets.shape()) s.push_back(extent);
  return s;
}

// FLOPs: 3V + 2 per row, V exp and a log; a reduction adds 1 per row, the mean 1. Ignored rows are counted like
// the others, because a plan cannot see data; the kernel skips them.
Plan plan_cross_entropy(const PlanContext& c) {
  const auto& a = c.as<CrossEntropyAttrs>();
  using In = CrossEntropyInput;
  const Tensor &x = c.in[In::logits], &targets = c.in[In::targets];
  check_operands(x, targets);
  const DType t = accumulation_dtype(x.dtype());
  const int64_t width = x.size(-1), rows = targets.numel();
  const bool reduced = a.reduction != Reduction::none;
  Plan p;
  p.outputs = {
      {.shape = reduced ? Shape{} : targets.shape(), .dtype = t, .label = "loss"},
      {.shape = statistics_shape(targets), .dtype = t, .label = "row statistics", .differentiable = false}};
  p.launches = {{"cross_entropy_rows"}};
  if (reduced) {
    p.workspaces = {{"losses of the rows", static_cast<size_t>(std::max<int64_t>(rows, 1)) * size_of(t)}};
    p.launches.push_back({"cross_entropy_reduce"});
  }
  p.saves = {{false, In::logits}, {false, In::targets}, {true, CrossEntropyOutput::statistics}};
  p.cost.vector_flops =
      checked_multiply(rows, 3 * width + 2 + reduced, "FLOPs") + (a.reduction == Reduction::mean);
  p.cost.special = checked_multiply(rows, width + 1, "special functions");
  set_traffic(p, c);
  return p;
}

// FLOPs: 3V + 1 per row and V exp; the mean divides once.
Plan plan_cross_entropy_backward(const PlanContext& c) {
  const auto& a = c.as<CrossEntropyAttrs>();
  using In = CrossEntropyBackwardInput;
  const Tensor &g = c.in[In::dloss], &x = c.in[In::logits], &targets = c.in[In::targets],
               &statistics = c.in[In::statistics];
  check_operands(x, targets);
  check_shape(g, a.reduction == Reduction::none ? targets.shape() : Shape{}, "cross_entropy's output gradient");
  check_shape(statistics, statistics_shape(targets), "cross_entropy's row statistics");
  RECKON_CHECK(g.contiguous() && statistics.contiguous() && statistics.dtype() == accumulation_dtype(x.dtype()),
               "cross_entropy_backward needs contiguous tensors and row statistics of type {}, got {}",
               name_of(accumulation_dtype(x.dtype())), describe(statistics));
  const int64_t width = x.size(-1), rows = targets.numel();
  Plan p;
  p.outputs = {{.shape = x.shape(), .dtype = x.dtype(), .label = "dlogits"}};
  p.launches = {{"cross_entropy_backward"}};
  p.cost.vector_flops = checked_multiply(rows, 3 * width + 1, "FLOPs") + (a.reduction == Reduction::mean);
  p.cost.special = checked_multiply(rows, width, "special functions");
  set_traffic(p, c);
  return p;
}

void plan_cross_entropy_backward_gpu(const PlanContext& c, Plan& p) {
  if (c.as<CrossEntropyAttrs>().reduction != Reduction::mean) return;
  p.workspaces = {{"scale", sizeof(float)}};
  p.launches = {{"cross_entropy_scale"}, {"cross_entropy_backward"}};
}

const OpDef cross_entropy_backward_op{
    .name = "cross_entropy_backward",
    .plan = plan_cross_entropy_backward,
    .kernels = checked_kernels<check_targets<CrossEntropyBackwardInput>, cross_entropy_backward_kernels>(),
    .gradient = Gradient::none,
    .gradient_note = "second derivatives are not offered",
    .cases =
        [] {
          std::vector<OpCase> cases;
          for (Reduction r : {Reduction::none, Reduction::sum, Reduction::mean}) {
            cases.push_back({.name = "rows",
                             .inputs = {normal(r == Reduction::none ? Shape{6} : Shape{}), normal({6, 600}),
                                        index({6}, 600), two_statistics({6})},
                             .attrs = std::make_shared<CrossEntropyAttrs>(r, -100)});
          }
          const auto rows = [&](const char* name, int64_t n, int64_t width) {
            cases.push_back({.name = name,
                             .inputs = {normal({}), normal({n, width}), index({n}, width), two_statistics({n})},
                             .attrs = std::make_shared<CrossEntropyAttrs>(Reduction::mean, -100)});
          };
          rows("narrow rows", 35, 23);
          rows("rows of 64", 40, 64);
          rows("wide rows", 2, 4101);
          return cases;
        },
    .gpu_plan = plan_cross_entropy_backward_gpu};

// Reads 16-bit logits itself and computes in f32, so autocast need not make an f32 copy of the largest tensor
// of a language model: the values are those of a cast, bit for bit.
const OpDef cross_entropy_op{
    .name = "cross_entropy",
    .fingerprint = fingerprint_by<&CrossEntropyAttrs::reduction, &CrossEntropyAttrs::ignore_index>,
    .plan = plan_cross_entropy,
    .kernels = checked_kernels<check_targets<CrossEntropyInput>, cross_entropy_kernels>(),
    .gradient = Gradient::differentiable,
    .backward = [](BackwardContext& c) -> TensorList {
      const auto& a = c.as<CrossEntropyAttrs>();
      SavedReader saved(c);
      const Tensor logits = saved.take(), targets = saved.take(), statistics = saved.take();
      return {call(cross_entropy_backward_op, {contiguous(c.grads[0]), logits, targets, statistics},
                   std::make_shared<CrossEntropyAttrs>(a.reduction, a.ignore_index))[0],
              Tensor{}};
    },
    .precision = Precision::follow,
    .cases =
        [] {
          std::vector<OpCase> cases;
          for (Reduction r : {Reduction::none, Reduction::sum, Reduction::mean}) {
            const auto attrs = std::make_shared<CrossEntropyAttrs>(r, -100);
            cases.push_back(
                {.name = "rows", .inputs = {normal({3, 4, 37}), index({3, 4}, 37)}, .attrs = attrs});
            cases.push_back({.name = "several tiles and pieces",
                             .inputs = {normal({300, 530}), index({300}, 530)},
                             .attrs = attrs});
          }
          const auto rows = [&](const char* name, int64_t n, int64_t width) {
            cases.push_back({.name = name,
                             .inputs = {normal({n, width}), index({n}, width)},
                             .attrs = std::make_shared<CrossEntropyAttrs>(Reduction::mean, -100)});
          };
          rows("narrow rows", 35, 23);
          rows("rows of 64", 40, 64);
          rows("wide rows", 2, 8200);
          return cases;
        }};

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& targets, Reduction reduction, int64_t ignore_index) {
  return call(cross_entropy_op, {contiguous(logits), contiguous(targets)},
              std::make_shared<CrossEntropyAttrs>(reduction, ignore_index))[0];
}

std::vector<const OpDef*> cross_entropy_ops() { return {&cross_entropy_op, &cross_entropy_backward_op}; }

}  // namespace reckon::ops
