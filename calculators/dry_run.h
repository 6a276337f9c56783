// Training steps whose books are kept: on meta a dry run (dry_run, and record_training with every op
// call and the shapes it made), on another device what an audit compares it with. Called by
// calculators, studies and commands.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "models/train/options.h"
#include "profiler/ledger.h"
#include "runtime/device.h"
#include "runtime/tensor.h"

namespace reckon::calculators {

struct MadeTensor {
  Shape shape;
  DType dtype = DType::f32;
};

struct OpCall {
  NameId op{}, module{};
  Phase phase{};
  Cost cost{};
  std::vector<MadeTensor> outputs;  // those that got memory; workspaces are not among them
};

// Listens to a device and to the thread's new tensors while it lives. Construct it after
// the device and destroy it before.
class Recorder : public EventSink, public TensorSink {
 public:
  explicit Recorder(Device& device);
  ~Recorder() override;
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  void on(const Event& event) override;
  void made(const Tensor& t) override;

  const std::vector<Event>& events() const { return events_; }
  const std::vector<OpCall>& calls() const { return calls_; }
  // By the id of the allocation event; blocks without a shape are workspaces.
  const std::unordered_map<int64_t, MadeTensor>& tensors() const { return tensors_; }

 private:
  Device& device_;
  TensorSink* before_;
  std::vector<Event> events_;
  std::vector<OpCall> calls_, open_;
  std::unordered_map<int64_t, MadeTensor> tensors_;
};

struct TrainedSteps {
  models::RunOptions options;
  std::string description, loaded;  // see TrainTask
  int64_t n_parameters = 0, n_trained = 0;
  int64_t n_parameter_tensors = 0;
  profiler::Ledger ledger;  // closed
};

// Every step of the options on the device, whose kind takes the place of options.device. `keep_events`: all of
// them stay in the ledger, not only the last step's.
TrainedSteps train_steps(models::RunOptions options, Device& device, bool with_data, bool keep_events = false);
// The same on meta, without data.
TrainedSteps dry_run(const models::RunOptions& options, const DeviceSpec& spec = DeviceSpec::this_machine(),
                     const DeviceOptions& limits = {});

struct Recording : TrainedSteps {
  std::vector<Event> events;
  std::vector<OpCall> calls;  // of the last step
  std::unordered_map<int64_t, MadeTensor> tensors;
  profiler::RunBooks books;
};

// Two steps (the first one makes optimizer state) on meta.
Recording record_training(models::RunOptions options, const DeviceSpec& spec);

}  // namespace reckon::calculators
