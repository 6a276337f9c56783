#include "tests/profiler/network.h"

#include "autograd/autocast.h"
#include "autograd/checkpoint.h"
#include "autograd/engine.h"
#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/fill/fill.h"
#include "ops/linear/linear.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/sum/sum.h"
#include "profiler/report.h"
#include "runtime/events/scope.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

constexpr int64_t kWidth = 24, kHidden = 40;

constexpr double kStep = -1e-5;  // small enough for a loss that is a sum

TensorList make_parameters(Device& device, int64_t blocks) {
  TensorList params;
  uint64_t stream = 0;
  const auto parameter = [&](Shape shape, std::string_view label) {
    Tensor t = Tensor::empty(device, shape, DType::f32, Category::parameter, label);
    ops::fill_random(t, ops::Distribution::normal, shape.rank() == 1 ? 1.0 : 0.0, 0.2, 3, stream++);
    autograd::set_requires_grad(t);
    params.push_back(t);
  };
  for (int64_t b = 0; b < blocks; ++b) {
    ModuleScope layers("layers"), index(std::to_string(b));
    parameter({kWidth}, "gain"), parameter({kHidden, kWidth}, "up"), parameter({kWidth, kHidden}, "down");
  }
  return params;
}

Tensor make_batch(Device& device, int64_t batch, int64_t step) {
  PhaseScope phase(Phase::data);
  Tensor x = Tensor::empty(device, {batch, kWidth}, DType::f32, Category::input, "x");
  ops::fill_random(x, ops::Distribution::normal, 0, 1, 9, static_cast<uint64_t>(step));
  return x;
}

Tensor loss_of(const Tensor& x, const TensorList& params, const NetworkOptions& o) {
  autograd::CheckpointScope scope(o.policy);
  autograd::AutocastScope cast(o.precision);
  PhaseScope phase(Phase::forward);
  Tensor h = x;
  for (int64_t b = 0; b < o.blocks; ++b) {
    ModuleScope layers("layers"), index(std::to_string(b));
    const auto block = [&params, b](std::span<const Tensor> in) -> TensorList {
      const size_t p = static_cast<size_t>(3 * b);
      const Tensor n = ops::rms_norm(in[0], params[p], 1e-6);
      ModuleScope mlp("mlp");
      return {ops::add(in[0], ops::linear(ops::silu(ops::linear(n, params[p + 1])), params[p + 2]))};
    };
    h = autograd::segment(autograd::Boundary::block, block, {h})[0];
  }
  PhaseScope loss_phase(Phase::loss);
  return ops::sum_all(ops::mul(h, h));
}

// Momentum of factor 1, created in the first step.
void update(Device& device, const TensorList& params, TensorList& momentum) {
  PhaseScope phase(Phase::optimizer);
  autograd::NoGrad no_grad;
  for (size_t i = 0; i < params.size(); ++i) {
    if (momentum.size() == i) {
      momentum.push_back(Tensor::empty(device, params[i].shape(), DType::f32, Category::optimizer, "momentum"));
      ops::fill(momentum.back(), 0);
    }
    ops::accumulate(momentum[i], autograd::grad_of(params[i]));
    Tensor weight = params[i].detached();
    ops::accumulate(weight, ops::scale(momentum[i], kStep));
    autograd::clear_grad(params[i]);
  }
}

}  // namespace

TrainedNetwork train_network(const NetworkOptions& o) {
  context() = {};
  TrainedNetwork out;
  auto device = make_device(o.kind);
  profiler::Ledger ledger;
  ledger.keep_events(true);
  device->add_sink(&ledger);
  {
    ModuleScope model("model");
    const TensorList params = make_parameters(*device, o.blocks);
    TensorList momentum;
    for (int64_t step = 0; step < o.steps; ++step) {
      device->begin_step(step);
      {
        const Tensor x = make_batch(*device, o.batch, step), loss = loss_of(x, params, o);
        autograd::backward(loss);
        if (device->executes()) out.record.losses.push_back(to_doubles(loss)[0]);
        update(*device, params, momentum);
      }
      device->end_step();
    }
    out.at_end = device->arena().stats();
    out.process = profiler::measure_process(device->arena(), ledger.own_bytes());
  }
  ledger.close();
  device->remove_sink(&ledger);
  context() = {};
  out.events.assign(ledger.events().begin(), ledger.events().end());
  out.record.books = ledger.books();
  out.record.process = out.process;
  out.record.config.set("device", name_of(o.kind));
  out.record.config.set("checkpoint", autograd::name_of(o.policy));
  out.record.config.set("precision", name_of(o.precision));
  out.record.config.set("blocks", std::to_string(o.blocks));
  return out;
}

}  // namespace reckon::testing
