#include "ops/embedding/embedding.h"

#include "ops/embedding/embedding_attrs.h"
#include "ops/embedding/embedding_kernel.h"
#include "ops/kernel/plan/scatter_rows.h"
#include "ops/rules.h"
#include "runtime/events/scope.h"

namespace reckon::ops {
namespace {

void check_ids(const TensorArg& ids, int64_t vocabulary) {
  const int64_t* id = ids.as<int64_t>();
  for (int64_t i = 0; i < ids.numel(); ++i)
    RECKON_CHECK(id[i] >= 0 && id[i] < vocabulary,
                 "embedding in module '{}': id {} at position {} is outside a table of V = {} rows (tokenizer "
                 "and model differ, or "
                 "padding ids were passed in?)",
                 name_of(context().module), id[i], i, vocabulary);
}

// Values are checked here, outside the kernels, which cannot raise errors.
void check_rows(KernelArgs& a) { check_ids(a.in[embedding_in::ids], a.in[embedding_in::table].shape[0]); }

void check_gradient(KernelArgs& a) { check_ids(a.in[embedding_backward_in::ids], a.out[0].shape[0]); }

void check_ids_type(const Tensor& ids) {
  RECKON_CHECK(ids.defined() && ids.dtype() == DType::i64,
               "embedding's ids must be i64, got {} (are ids and table swapped?)", describe(ids));
}

Plan plan_embedding(const PlanContext& c) {
  const Tensor &ids = c.in[embedding_in::ids], &table = c.in[embedding_in::table];
  check_ids_type(ids);
  check_floating(table, "embedding's table");
  RECKON_CHECK(table.rank() == 2, "embedding's table must be [V, H], got {}", describe(table));
  Shape shape = ids.shape();
  shape.push_back(table.size(1));
  Plan p;
  p.outputs = {{.shape = shape, .dtype = table.dtype(), .label = "embedded"}};
  p.launches = {{"embedding"}};
  p.saves = {{false, embedding_in::ids}};
  // At most one table row per id is read.
  p.cost.bytes_written = traffic_bytes(p.outputs[0]);
  p.cost.bytes_read = traffic_bytes(ids) + std::min(p.cost.bytes_written, traffic_bytes(table));
  return p;
}

// One addition per element of the gradient.
Plan plan_embedding_backward(const PlanContext& c) {
  const auto& a = c.as<EmbeddingBackwardAttrs>();
  const Tensor &g = c.in[embedding_backward_in::g], &ids = c.in[embedding_backward_in::ids];
  check_ids_type(ids);
  check_rank_at_least(g, 1, "embedding's output gradient");
  RECKON_CHECK(g.shape().slice(0, g.rank() - 1) == ids.shape(),
               "embedding's output gradient must have the ids' shape {} and one more axis, got {}",
               to_string(ids.shape()), describe(g));
  RECKON_CHECK(ids.numel() < int64_t{1} << 31 && a.vocabulary < int64_t{1} << 31,
               "embedding's gradient counts positions in 32 bits, got {} ids and {} rows", ids.numel(),
               a.vocabulary);
  Plan p;
  p.outputs = {{.shape = {a.vocabulary, g.size(-1)},
                .dtype = g.dtype() == DType::f64 ? DType::f64 : a.dtype,
                .label = "dtable"}};
  p.workspaces = {{"chain heads", static_cast<size_t>(a.vocabulary) * sizeof(int32_t)},
                  {"chain links", static_cast<size_t>(std::max<int64_t>(ids.numel(), 1)) * sizeof(int32_t)}};
  p.launches = {{"embedding_chains"}, {"embedding_backward"}};
  p.cost.vector_flops = g.numel();
  set_traffic(p, c);
  return p;
}

void plan_embedding_backward_gpu(const PlanContext& c, Plan& p) {
  const ScatterWorkspaces w =
      scatter_workspaces(c.in[embedding_backward_in::ids].numel(), c.as<EmbeddingBackwardAttrs>().vocabulary,
                         c.in[embedding_backward_in::g].size(-1));
  p.workspaces = {{"list heads", w.heads},
                  {"positions by id", w.order},
                  {"runs of an id", w.runs},
                  {"sums of windows", w.window_sums}};
  p.launches = {{"embedding_order"}, {"embedding_link"}, {"embedding_backward"}};
}

const OpDef embedding_backward_op{
    .name = "embedding_backward",
    .plan = plan_embedding_backward,
    .kernels = checked_kernels<check_gradient, embedding_backward_kernels>(),
    .gradient = Gradient::none,
    .gradient_note = "second derivatives are not offered",
    .cases =
        [] {
          return std::vector<OpCase>{{.name = "repeats",
                                      .inputs = {normal({3, 9, 6}), index({3, 9}, 11)},
                                      .attrs = std::make_shared<EmbeddingBackwardAttrs>(13, DType::f32)},
                                     {.name = "several tiles",
                                      .inputs = {normal({40, 700}), index({40}, 5)},
                                      .attrs = std::make_shared<EmbeddingBackwardAttrs>(64, DType::f32)}};
        },
    .gpu_plan = plan_embedding_backward_gpu};

const OpDef embedding_op{
    .name = "embedding",
    .plan = plan_embedding,
    .kernels = checked_kernels<check_rows, embedding_kernels>(),
    .gradient = Gradient::differentiable,
    .backward = [](BackwardContext& c) -> TensorList {
      return {Tensor{}, call(embedding_backward_op, {c.grads[0], c.saved[0]},
                             std::make_shared<EmbeddingBackwardAttrs>(c.input_shapes[embedding_in::table][0],
                                                                      c.input_dtypes[embedding_in::table]))[0]};
    },
    .cases =
        [] {
          return std::vector<OpCase>{{.name = "vector of ids", .inputs = {index({7}, 5), normal({5, 3})}},
                                     {.name = "batch of ids", .inputs = {index({3, 9}, 11), normal({11, 600})}},
                                     {.name = "one id", .inputs = {index({}, 4), normal({4, 5})}}};
        }};

}  // namespace

Tensor embedding(const Tensor& ids, const Tensor& table) { return call(embedding_op, {ids, table})[0]; }

std::vector<const OpDef*> embedding_ops() { return {&embedding_op, &embedding_backward_op}; }

}  // namespace reckon::ops
