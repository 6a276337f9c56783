#include "ops/linear_cross_entropy/linear_cross_entropy.h"

#include <algorithm>

#include "ops/cross_entropy/cross_entropy.h"
#include "ops/kernel/cpu/gemm.h"
#include "ops/linear/linear.h"
#include "ops/linear_cross_entropy/linear_cross_entropy_reference.h"
#include "ops/linear_cross_entropy/linear_cross_entropy_steps.h"
#include "ops/plan/fused_plan.h"
#include "runtime/events/scope.h"

RECKON_KERNEL(linear_cross_entropy)
RECKON_KERNEL(linear_cross_entropy_backward)

namespace reckon::ops {
namespace {

// Target values are checked here, outside the kernels, which cannot raise errors.
// In: the enum of the op's inputs.
template <class In>
void check_targets(KernelArgs& a) {
  const TensorArg& targets = a.in[In::targets];
  const int64_t classes = a.in[In::weight].shape[0], ignored = a.as<LinearCrossEntropyAttrs>().ignore_index;
  const int64_t* target = targets.as<int64_t>();
  for (int64_t i = 0; i < targets.numel(); ++i)
    RECKON_CHECK((target[i] >= 0 && target[i] < classes) || target[i] == ignored,
                 "linear_cross_entropy in module '{}': target {} at position {} is neither in [0, {}) nor the "
                 "ignored index {}",
                 name_of(context().module), target[i], i, classes, ignored);
}

LogitTiles checked_tiles(const Tensor& x, const Tensor& w, const Tensor& targets, Reduction reduction) {
  check_floating(x, "linear_cross_entropy's x");
  check_floating(w, "linear_cross_entropy's weight");
  RECKON_CHECK(x.rank() == 2 && w.rank() == 2 && w.size(1) == x.size(1),
               "linear_cross_entropy needs x [rows, width] and weight [classes, width], got {} and {}",
               describe(x), describe(w));
  RECKON_CHECK(x.numel() > 0 && w.numel() > 0, "linear_cross_entropy of empty tensors: {} and {}", describe(x),
               describe(w));
  RECKON_CHECK((x.dtype() == DType::f64) == (w.dtype() == DType::f64),
               "linear_cross_entropy mixes f64 with another type: {} and {}", describe(x), describe(w));
  RECKON_CHECK(targets.defined() && targets.dtype() == DType::i64 && targets.shape() == Shape{x.size(0)},
               "linear_cross_entropy's targets must be i64 [{}], got {}", x.size(0), describe(targets));
  RECKON_CHECK(reduction != Reduction::none,
               "linear_cross_entropy gives the mean or the sum of the losses, not one per row: use linear and "
               "cross_entropy for those");
  return {x.size(0), w.size(0), x.size(1)};
}

// The largest that any tile's product asks for: an edge tile may be split among the threads in another way.
size_t product_bytes(const PlanContext& c, const LogitTiles& t, DType x, DType w, bool wants_x,
                     bool wants_weight) {
  const DType grad = low_logit_gradient(x, w) ? DType::bf16 : DType::f32;
  const auto level = static_cast<IsaLevel>(c.spec.isa_level);
  size_t most = 0;
  for (int64_t r : {int64_t{0}, t.row_tiles() - 1})
    for (int64_t v : {int64_t{0}, t.class_tiles() - 1}) {
      const auto take = [&](int64_t m, int64_t n, int64_t k, DType a, DType b) {
        most = std::max(most, gemm_workspace_bytes(m, n, k, a, b, DType::f32, c.spec.threads, level));
      };
      take(t.rows(r), t.classes(v), t.H, x, w);
      if (wants_x) take(t.rows(r), t.H, t.classes(v), grad, w);
      if (wants_weight) take(t.classes(v), t.H, t.rows(r), grad, x);
    }
  return std::max<size_t>(most, 64);
}

size_t tile_bytes(const LogitTiles& t, size_t element) {
  return static_cast<size_t>(t.most_rows() * t.most_classes()) * element;
}

// FLOPs beside the product: 3V + 3 per row, V exp and a log; the mean 1. Ignored rows count like the others: a
// plan does not see data.
Plan plan_linear_cross_entropy(const PlanContext& c) {
  const auto& a = c.as<LinearCrossEntropyAttrs>();
  using In = LinearCrossEntropyInput;
  const Tensor &x = c.in[In::x], &w = c.in[In::weight];
  const LogitTiles t = checked_tiles(x, w, c.in[In::targets], a.reduction);
  const DType type = accumulation_dtype(x.dtype());
  Plan p;
  p.outputs = {{.shape = Shape{}, .dtype = type, .label = "loss"},
               {.shape = {kLinearLossStatistics, t.T},
                .dtype = type,
                .label = "row statistics",
                .differentiable = false}};
  if (type == DType::f64) {
    p.workspaces = {{"logits of one row", static_cast<size_t>(t.V) * sizeof(double)}};
  } else {
    p.workspaces = {{"packed panels", product_bytes(c, t, x.dtype(), w.dtype(), false, false)},
                    {"tile of logits", tile_bytes(t, sizeof(float))},
                    {"running logsumexp", static_cast<size_t>(3 * t.most_rows()) * sizeof(float)}};
  }
  for (int64_t i = 0; i < t.row_tiles() * t.class_tiles(); ++i) {
    p.launches.push_back({"gemm"});
    p.launches.push_back({"running_logsumexp"});
  }
  p.launches.push_back({"cross_entropy_reduce"});
  p.saves = {
      {false, In::x}, {false, In::weight}, {false, In::targets}, {true, LinearCrossEntropyOutput::statistics}};
  p.cost.matmul_flops = matmul_flops(t.T, t.V, t.H);
  p.cost.vector_flops = checked_multiply(t.T, 3 * t.V + 3, "FLOPs") + (a.reduction == Reduction::mean);
  p.cost.special = checked_multiply(t.T, t.V + 1, "special functions");
  set_traffic(p, c);
  return p;
}

// FLOPs beside the products: 3V + 1 per row and V exp; the mean 1.
Plan plan_linear_cross_entropy_backward(const PlanContext& c) {
  const auto& a = c.as<LinearCrossEntropyAttrs>();
  using In = LinearCrossEntropyBackwardInput;
  const Tensor &g = c.in[In::dloss], &x = c.in[In::x], &w = c.in[In::weight],
               &statistics = c.in[In::statistics];
  const LogitTiles t = checked_tiles(x, w, c.in[In::targets], a.reduction);
  check_shape(g, Shape{}, "linear_cross_entropy's output gradient");
  check_shape(statistics, {kLinearLossStatistics, t.T}, "linear_cross_entropy's row statistics");
  RECKON_CHECK(statistics.contiguous() && statistics.dtype() == accumulation_dtype(x.dtype()),
               "linear_cross_entropy_backward needs contiguous row statistics of {}, got {}",
               name_of(accumulation_dtype(x.dtype())), describe(statistics));
  RECKON_CHECK(a.wants_x || a.wants_weight, "linear_cross_entropy_backward is asked for no gradient");
  Plan p;
  if (a.wants_x) p.outputs.push_back({.shape = x.shape(), .dtype = x.dtype(), .label = "dx"});
  if (a.wants_weight)
    p.outputs.push_back({.shape = w.shape(), .dtype = accumulation_dtype(w.dtype()), .label = "dweight"});
  if (x.dtype() == DType::f64) {
    p.workspaces = {{"logits of one row", static_cast<size_t>(t.V) * sizeof(double)}};
  } else {
    p.workspaces = {{"packed panels", product_bytes(c, t, x.dtype(), w.dtype(), a.wants_x, a.wants_weight)},
                    {"tile of logits", tile_bytes(t, sizeof(float))}};
    if (low_logit_gradient(x.dtype(), w.dtype()))
      p.workspaces.push_back({"tile of logit gradients", tile_bytes(t, sizeof(bf16))});
    if (a.wants_x && x.dtype() != DType::f32)
      p.workspaces.push_back({"dx in f32", static_cast<size_t>(x.numel()) * sizeof(float)});
  }
  for (int64_t i = 0; i < t.row_tiles() * t.class_tiles(); ++i) {
    p.launches.push_back({"gemm"});
    p.launches.push_back({"logit_gradients"});
    if (a.wants_x) p.launches.push_back({"gemm"});
    if (a.wants_weight) p.launches.push_back({"gemm"});
  }
  p.cost.matmul_flops = checked_multiply(1 + a.wants_x + a.wants_weight, matmul_flops(t.T, t.V, t.H), "FLOPs");
  p.cost.vector_flops = checked_multiply(t.T, 3 * t.V + 1, "FLOPs") + (a.reduction == Reduction::mean);
  p.cost.special = checked_multiply(t.T, t.V, "special functions");
  set_traffic(p, c);
  return p;
}

void plan_linear_cross_entropy_gpu(const PlanContext& c, Plan& p) {
  const Tensor &x = c.in[LinearCrossEntropyInput::x], &w = c.in[LinearCrossEntropyInput::weight];
  follow_steps(
      LossSteps{x.size(0), w.size(0), x.size(1), x.dtype(), w.dtype(), c.spec.library_workspace_bytes, false},
      p);
}

void plan_linear_cross_entropy_backward_gpu(const PlanContext& c, Plan& p) {
  const auto& a = c.as<LinearCrossEntropyAttrs>();
  using In = LinearCrossEntropyBackwardInput;
  const Tensor &x = c.in[In::x], &w = c.in[In::weight];
  follow_steps(LossSteps{x.size(0), w.size(0), x.size(1), x.dtype(), w.dtype(), c.spec.library_workspace_bytes,
                         true, a.wants_x, a.wants_weight},
               p);
}

const OpDef linear_cross_entropy_backward_op{
    .name = "linear_cross_entropy_backward",
    .plan = plan_linear_cross_entropy_backward,
    .kernels = checked_kernels<check_targets<LinearCrossEntropyBackwardInput>,
                               linear_cross_entropy_backward_kernels>(),
    .gradient = Gradient::none,
    .gradient_note = "second derivatives are not offered",
    .cases =
        [] {
          std::vector<OpCase> cases;
          for (auto [x, w] : {std::pair{true, true}, {true, false}, {false, true}}) {
            cases.push_back({.name = "gradients",
                             .inputs = {normal(Shape{}), normal({7, 5}), normal({37, 5}), index({7}, 37),
                                        two_statistics({7})},
                             .attrs = std::make_shared<LinearCrossEntropyAttrs>(
                                 w ? Reduction::mean : Reduction::sum, -100, x, w)});
          }
          return cases;
        },
    .gpu_plan = plan_linear_cross_entropy_backward_gpu};

TensorList linear_cross_entropy_backward(BackwardContext& c) {
  const auto& a = c.as<LinearCrossEntropyAttrs>();
  using In = LinearCrossEntropyInput;
  const auto attrs = std::make_shared<LinearCrossEntropyAttrs>(a.reduction, a.ignore_index, c.needs(In::x),
                                                               c.needs(In::weight));
  SavedReader saved(c);
  const Tensor x = saved.take(), weight = saved.take(), targets = saved.take(), statistics = saved.take();
  return by_input(
      call(linear_cross_entropy_backward_op, {contiguous(c.grads[0]), x, weight, targets, statistics}, attrs),
      c.needs_grad & input_bits(In::x, In::weight), In::n_inputs);
}

const OpDef linear_cross_entropy_op{
    .name = "linear_cross_entropy",
    .fingerprint = fingerprint_by<&LinearCrossEntropyAttrs::reduction, &LinearCrossEntropyAttrs::ignore_index>,
    .plan = plan_linear_cross_entropy,
    .kernels = checked_kernels<check_targets<LinearCrossEntropyInput>, linear_cross_entropy_kernels>(),
    .gradient = Gradient::differentiable,
    .backward = linear_cross_entropy_backward,
    .precision = Precision::low,
    .low_inputs = input_bits(LinearCrossEntropyInput::x, LinearCrossEntropyInput::weight),
    .recompute = Recompute::dear,
    .cases =
        [] {
          std::vector<OpCase> cases;
          for (Reduction r : {Reduction::sum, Reduction::mean}) {
            const auto attrs = std::make_shared<LinearCrossEntropyAttrs>(r, -100);
            cases.push_back({.name = "one tile",
                             .inputs = {normal({9, 12}), normal({33, 12}), index({9}, 33)},
                             .attrs = attrs});
            if (r == Reduction::mean)
              cases.push_back({.name = "several tiles",
                               .inputs = {normal({515, 2}), normal({2053, 2}), index({515}, 2053)},
                               .attrs = attrs});
          }
          return cases;
        },
    .gpu_plan = plan_linear_cross_entropy_gpu};

}  // namespace

Tensor linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& targets, Reduction reduction,
                            int64_t ignore_index) {
  if (any_empty({&x, 1}) || any_empty({&weight, 1}))  // rows without losses, or logits of 0
    return cross_entropy(linear(x, weight), targets, reduction, ignore_index);
  return call(linear_cross_entropy_op, {x, weight, targets},
              std::make_shared<LinearCrossEntropyAttrs>(reduction, ignore_index))[0];
}

std::vector<const OpDef*> linear_cross_entropy_ops() {
  return {&linear_cross_entropy_op, &linear_cross_entropy_backward_op};
}

}  // namespace reckon::ops
