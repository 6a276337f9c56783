#include "models/train/trainer.h"

#include <chrono>
#include <cmath>

#include "autograd/autocast.h"
#include "autograd/fusion.h"
#include "autograd/grad_mode.h"
#include "autograd/node.h"
#include "models/train/checkpoint_file.h"
#include "ops/binary/binary.h"
#include "ops/view/view.h"
#include "runtime/core/format.h"
#include "runtime/core/rng.h"
#include "runtime/events/scope.h"

namespace reckon::models {
namespace {

// Random streams a micro-batch may use: dropout sites of one forward pass stay far below this.
constexpr uint64_t kStreamsPerBatch = uint64_t{1} << 20;

}  // namespace

std::optional<double> read_scalar(const Tensor& t) {
  if (!t.defined() || !t.device().executes()) return std::nullopt;
  RECKON_CHECK(t.dtype() == DType::f32 || t.dtype() == DType::f64, "only f32 and f64 scalars are read, got {}",
               describe(t));
  const std::vector<std::byte> host = t.to_host();
  return t.dtype() == DType::f64 ? *reinterpret_cast<const double*>(host.data())
                                 : static_cast<double>(*reinterpret_cast<const float*>(host.data()));
}

Trainer::Trainer(const RunOptions& options, Device& device, bool with_data, int64_t first_step)
    : options_(options), device_(device), next_step_(first_step) {
  // Events carry the step; a run must not inherit the one before it on this thread.
  context().step = first_step;
  PhaseScope phase(Phase::init);
  task_ = make_task(options_, device_, with_data, first_step * options_.accumulate);
  optimizer_ = std::make_unique<Optimizer>(task_->parameters(), options_.optimizer);
  schedule_ = {options_.schedule, options_.lr, options_.warmup, options_.steps + (options_.warmup > 0 ? 1 : 0)};
}

void Trainer::resume(const std::string& checkpoint) {
  PhaseScope phase(Phase::init);
  const int64_t steps = load_checkpoint(checkpoint, options_, task_->parameters(), *optimizer_);
  RECKON_CHECK(steps == next_step_, "{} holds {} steps, the run starts at {}", checkpoint, steps, next_step_);
}

void Trainer::save(const std::string& checkpoint) {
  if (!device_.executes()) return;
  save_checkpoint(checkpoint, options_, task_->parameters(), *optimizer_, next_step_);
}

StepReport Trainer::step() {
  try {
    return take_step();
  } catch (...) {
    // Of a step that raised before its update nothing is left, so that it can be taken again.
    for (const NamedParameter& p : task_->parameters().all()) autograd::clear_grad(p.tensor);
    throw;
  }
}

StepReport Trainer::take_step() {
  const auto begin = std::chrono::steady_clock::now();
  StepReport report;
  report.step = next_step_;
  // The first update of a warm-up has learning rate 0 in some codes; here step 0 already moves.
  report.lr = schedule_.at(next_step_ + (options_.warmup > 0 ? 1 : 0));
  const autograd::FusionScope fusions(options_.fuse);
  device_.begin_step(next_step_);
  autograd::GradState& state = autograd::grad_state();
  state.generator.seed = options_.seed;
  double loss_sum = 0;
  bool have_loss = false;
  for (int64_t micro = 0; micro < options_.accumulate; ++micro) {
    const int64_t batch = next_step_ * options_.accumulate + micro;
    state.generator.next_stream =
        stream_of(StreamUse::dropout, static_cast<uint64_t>(batch) * kStreamsPerBatch);
    Tensor loss;
    {
      autograd::CheckpointScope policy(options_.checkpoint);
      autograd::AutocastScope precision(options_.dtype, options_.low_residual);
      loss = task_->loss(batch);
    }
    if (const auto v = read_scalar(loss)) {
      loss_sum += *v;
      have_loss = true;
    }
    {
      PhaseScope phase(Phase::loss);
      ModuleScope module("loss");
      if (options_.accumulate > 1) loss = ops::scale(loss, 1.0 / static_cast<double>(options_.accumulate));
      if (options_.optimizer.scale_loss) loss = ops::mul(loss, ops::reshape(optimizer_->loss_scale(), {}));
    }
    task_->backward(loss);
    report.items += task_->items_per_batch();
  }
  if (have_loss) report.loss = loss_sum / static_cast<double>(options_.accumulate);
  {
    const Tensor norm = optimizer_->step(next_step_, report.lr);
    report.grad_norm = read_scalar(norm);
  }
  assert_nothing_left();
  device_.end_step();
  ++next_step_;
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return report;
}

void Trainer::assert_nothing_left() const {
  for (Category c :
       {Category::transient, Category::saved, Category::cast, Category::workspace, Category::gradient}) {
    const size_t bytes = device_.arena().live_bytes(c);
    RECKON_CHECK(
        bytes == 0,
        "after step {} there are still {} of category {} alive: something holds on to a tensor of the step",
        next_step_, format_bytes(static_cast<double>(bytes)), name_of(c));
  }
}

}  // namespace reckon::models
