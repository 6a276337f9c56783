#include "calculators/dry_run.h"

#include "models/train/trainer.h"

namespace reckon::calculators {

Recorder::Recorder(Device& device) : device_(device), before_(set_tensor_sink(this)) { device_.add_sink(this); }

Recorder::~Recorder() {
  device_.remove_sink(this);
  set_tensor_sink(before_);
}

void Recorder::on(const Event& e) {
  events_.push_back(e);
  if (e.kind == EventKind::step_begin) calls_.clear();
  if (e.kind == EventKind::op_begin) open_.push_back({e.op, e.module, e.phase, {}, {}});
  if (e.kind == EventKind::op_end && !open_.empty()) {
    open_.back().cost = e.cost;
    calls_.push_back(std::move(open_.back()));
    open_.pop_back();
  }
}

void Recorder::made(const Tensor& t) {
  if (&t.device() != &device_) return;
  tensors_[t.storage()->id()] = {t.shape(), t.dtype()};
  if (!open_.empty()) open_.back().outputs.push_back({t.shape(), t.dtype()});
}

TrainedSteps train_steps(models::RunOptions options, Device& device, bool with_data, bool keep_events) {
  options.device = device.kind();
  TrainedSteps r;
  r.options = options;
  r.ledger.keep_events(keep_events);
  device.add_sink(&r.ledger);
  {
    models::Trainer trainer(options, device, with_data);
    const models::TrainTask& task = trainer.task();
    r.description = task.describe();
    r.loaded = task.loaded;
    for (const models::NamedParameter& p : task.parameters().all()) {
      ++r.n_parameter_tensors;
      r.n_parameters += p.tensor.numel();
      if (p.tensor.requires_grad()) r.n_trained += p.tensor.numel();
    }
    while (!trainer.done()) trainer.step();
  }
  device.remove_sink(&r.ledger);
  r.ledger.close();
  return r;
}

TrainedSteps dry_run(const models::RunOptions& options, const DeviceSpec& spec, const DeviceOptions& limits) {
  Device device(DeviceKind::meta, spec, limits);
  return train_steps(options, device, /*with_data=*/false);
}

Recording record_training(models::RunOptions options, const DeviceSpec& spec) {
  options.steps = 2;
  Device device(DeviceKind::meta, spec);
  Recorder recorder(device);
  Recording r{train_steps(options, device, /*with_data=*/false),
              recorder.events(),
              recorder.calls(),
              recorder.tensors(),
              {}};
  r.books = r.ledger.books();
  return r;
}

}  // namespace reckon::calculators
