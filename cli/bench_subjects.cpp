#include "cli/bench_subjects.h"

#include <algorithm>
#include <memory>

#include "autograd/autocast.h"
#include "autograd/engine.h"
#include "autograd/fusion.h"
#include "autograd/grad_mode.h"
#include "autograd/node.h"
#include "models/evoformer/evoformer.h"
#include "models/pairformer/pairformer.h"
#include "models/qwen/qwen.h"
#include "models/train/optimizer.h"
#include "ops/fill/fill.h"
#include "runtime/events/scope.h"

namespace reckon::cli {
namespace {

using autograd::FusionScope;
using autograd::FusionSet;

Tensor random(Device& device, const Shape& shape, DType dtype, uint64_t stream) {
  const Tensor t = Tensor::empty(device, shape, dtype, Category::input, "bench");
  ops::fill_random(t, ops::Distribution::normal, 0, 1, 7, stream);
  return t;
}

Tensor indices(Device& device, const Shape& shape, int64_t limit) {
  std::vector<int64_t> v(static_cast<size_t>(numel(shape)));
  for (size_t i = 0; i < v.size(); ++i)
    v[i] = static_cast<int64_t>(i * 2654435761u % static_cast<uint64_t>(limit));
  return Tensor::from_host(device, shape, DType::i64, v.data(), v.size() * sizeof(int64_t), Category::input,
                           "bench");
}

void run_backward(const TensorList& outputs, const TensorList& seeds) { autograd::backward(outputs, seeds); }

BenchSubject qwen(Device& device, DType dtype, FusionSet fuse, bool small) {
  models::QwenConfig c = models::QwenConfig::preset("qwen2.5-0.5b");
  c.layers = 1;
  c.vocab = 8192;
  if (small) c.hidden = 64, c.heads = 4, c.kv_heads = 2, c.head_dim = 16, c.intermediate = 96, c.vocab = 128;
  auto model = std::make_shared<models::Qwen>(device, c, 1);
  auto optimizer = std::make_shared<models::Optimizer>(model->parameters(), models::OptimizerOptions{});
  const Tensor ids = indices(device, {1, small ? 16 : 512}, c.vocab);
  auto step = std::make_shared<int64_t>(0);
  return {fmt::format("Qwen 0.5B layer, {} tokens, fuse {}", ids.size(1), fuse.to_string()), [=] {
            const FusionScope fusions(fuse);
            Tensor loss;
            {
              autograd::AutocastScope precision(dtype);
              PhaseScope phase(Phase::forward);
              loss = model->loss(ids, ids);
            }
            autograd::backward(loss);
            loss = {};
            optimizer->step((*step)++, 1e-4);
          }};
}

BenchSubject evoformer(Device& device, DType dtype, FusionSet fuse, bool small) {
  models::EvoformerConfig c = models::EvoformerConfig::preset(small ? "tiny" : "alphafold2");
  auto parameters = std::make_shared<models::ParameterSet>();
  models::Builder b(device, DType::f32, 1, *parameters);
  auto block = std::make_shared<models::EvoformerBlock>(b, "block", c);
  const int64_t S = small ? 4 : 64, R = small ? 8 : 64;
  Tensor m = random(device, {1, S, R, c.c_m}, DType::f32, 1),
         z = random(device, {1, R, R, c.c_z}, DType::f32, 2);
  const TensorList seeds{random(device, m.shape(), DType::f32, 3), random(device, z.shape(), DType::f32, 4)};
  autograd::set_requires_grad(m);
  autograd::set_requires_grad(z);
  models::EvoformerInputs in;
  in.msa_mask = ops::full(device, {1, S, R}, DType::f32, 1, Category::input);
  in.pair_mask = ops::full(device, {1, R, R}, DType::f32, 1, Category::input);
  in.drop.training = true;
  return {fmt::format("Evoformer block, {} x {}, fuse {}", S, R, fuse.to_string()), [=] {
            const FusionScope fusions(fuse);
            TensorList out;
            {
              autograd::AutocastScope precision(dtype);
              PhaseScope phase(Phase::forward);
              out = (*block)(m, z, in);
            }
            run_backward(out, seeds);
            for (const auto& p : parameters->all()) autograd::clear_grad(p.tensor);
            autograd::clear_grad(m);
            autograd::clear_grad(z);
          }};
}

BenchSubject pairformer(Device& device, DType dtype, FusionSet fuse, bool small) {
  models::PairformerConfig c = models::PairformerConfig::preset(small ? "tiny" : "alphafold3");
  auto parameters = std::make_shared<models::ParameterSet>();
  models::Builder b(device, DType::f32, 1, *parameters);
  auto block = std::make_shared<models::PairformerBlock>(b, "block", c);
  const int64_t N = small ? 8 : 128;
  Tensor s = random(device, {1, N, c.c_s}, DType::f32, 1), z = random(device, {1, N, N, c.c_z}, DType::f32, 2);
  const TensorList seeds{random(device, s.shape(), DType::f32, 3), random(device, z.shape(), DType::f32, 4)};
  autograd::set_requires_grad(s);
  autograd::set_requires_grad(z);
  return {fmt::format("Pairformer block, N {}, fuse {}", N, fuse.to_string()), [=] {
            const FusionScope fusions(fuse);
            TensorList out;
            {
              autograd::AutocastScope precision(dtype);
              PhaseScope phase(Phase::forward);
              out = (*block)(s, z, {});
            }
            run_backward(out, seeds);
            for (const auto& p : parameters->all()) autograd::clear_grad(p.tensor);
            autograd::clear_grad(s);
            autograd::clear_grad(z);
          }};
}

Tensor make_input(Device& device, const ops::InputSpec& spec, const Shape& shape, DType dtype,
                  uint64_t stream) {
  Shape stored = shape;
  if (spec.transposed) std::swap(stored[stored.rank() - 1], stored[stored.rank() - 2]);
  Tensor t;
  if (spec.kind == ops::InputKind::index) {
    t = indices(device, stored, spec.index_limit);  // the declared range fits the grown one too
  } else {
    t = Tensor::empty(device, stored, spec.fixed_f32 ? DType::f32 : dtype, Category::input, "bench");
    if (spec.kind == ops::InputKind::normal)
      ops::fill_random(t, ops::Distribution::normal, 0, 1, 7, stream);
    else if (spec.kind == ops::InputKind::mask01)
      ops::fill(t, 1);
    else
      ops::fill_random(t, ops::Distribution::uniform, 1, 0.5, 7, stream);
  }
  return spec.transposed ? t.transposed(-2, -1) : t;
}

// The case's inputs with every extent above 1 that the op leaves open times `scale`, as tensors without data when `device` is meta.
TensorList scaled_inputs(Device& device, const ops::OpCase& c, DType dtype, int64_t scale) {
  TensorList inputs;
  for (size_t k = 0; k < c.inputs.size(); ++k) {
    const ops::InputSpec& spec = c.inputs[k];
    if (spec.optional_absent) {
      inputs.emplace_back();
      continue;
    }
    Shape shape = spec.shape;
    for (int i = spec.fixed_axes; i < shape.rank(); ++i)
      if (shape[i] > 1) shape[i] *= scale;
    inputs.push_back(make_input(device, spec, shape, dtype, k + 1));
  }
  return inputs;
}

int64_t traffic(const ops::Plan& p) { return p.cost.bytes_read + p.cost.bytes_written; }

}  // namespace

std::vector<BenchSubject> model_subjects(Device& device, DType dtype, bool small) {
  std::vector<BenchSubject> all;
  for (const FusionSet fuse : {FusionSet::none(), FusionSet::all()}) {
    all.push_back(qwen(device, dtype, fuse, small));
    all.push_back(evoformer(device, dtype, fuse, small));
    all.push_back(pairformer(device, dtype, fuse, small));
  }
  return all;
}

std::vector<BenchSubject> grown_case(Device& device, const ops::OpDef& op, DType dtype, int64_t most_bytes) {
  if (!op.cases) return {};
  const std::vector<ops::OpCase> cases = op.cases();
  const ops::OpCase* chosen = nullptr;
  int64_t scale = 1, heaviest = -1;
  Device paper(DeviceKind::meta, device.spec());
  for (const ops::OpCase& c : cases) {
    for (int64_t s = 1; s <= 4096; s *= 2) {
      int64_t bytes = 0;
      try {
        // An op whose attributes hold extents refuses other shapes: then its
        // declared size is what can be measured.
        bytes = traffic(ops::plan_of(op, scaled_inputs(paper, c, dtype, s), c.attrs, device.spec(), ~0u));
      } catch (const Error&) {
        break;
      }
      if (bytes > most_bytes && s > 1) break;
      if (bytes <= heaviest) continue;
      heaviest = bytes;
      chosen = &c;
      scale = s;
    }
  }
  if (!chosen) return {};
  const TensorList inputs = scaled_inputs(device, *chosen, dtype, scale);
  const ops::AttrsPtr attrs = chosen->attrs;
  const std::string name =
      fmt::format("case '{}'{}", chosen->name,
                  scale > 1 ? fmt::format(", extents x {}", scale) : std::string(", as declared"));
  return {{name, [&op, inputs, attrs] { static_cast<void>(ops::dispatch(op, inputs, attrs, ~0u)); }}};
}

}  // namespace reckon::cli
