// One training run: batches in, losses out, books closed after every step. The same code runs on every device;
// the only thing that differs on meta is that there are no values to report.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "models/train/family.h"
#include "runtime/device.h"

namespace reckon::models {

struct StepReport {
  int64_t step = 0;                 // from 0
  std::optional<double> loss;       // mean over the micro-batches; none on meta
  std::optional<double> grad_norm;  // before clipping
  double lr = 0;
  double seconds = 0;
  int64_t items = 0;  // tokens or residues of the step
};

class Trainer {
 public:
  // `first_step` > 0 continues a run whose state is loaded with `resume`.
  Trainer(const RunOptions& options, Device& device, bool with_data, int64_t first_step = 0);

  void resume(const std::string& checkpoint);  // Error unless its steps are `first_step`
  void save(const std::string& checkpoint);    // nothing on meta: there are no values

  // Accumulates gradients over the micro-batches, clips, updates, drops gradients. Afterwards nothing transient
  // may be left on the device; if there is, Error names the bytes by category. A step that raises (out of memory)
  // drops its gradients and may be taken again, unless the update itself was interrupted (Optimizer::step).
  StepReport step();
  bool done() const { return next_step_ >= options_.steps; }
  int64_t steps_done() const { return next_step_; }
  TrainTask& task() { return *task_; }

 private:
  StepReport take_step();
  void assert_nothing_left() const;

  RunOptions options_;
  Device& device_;
  std::unique_ptr<TrainTask> task_;
  std::unique_ptr<Optimizer> optimizer_;
  Schedule schedule_;
  int64_t next_step_ = 0;
};

// First element of a tensor as a number; none where there is no data.
std::optional<double> read_scalar(const Tensor& t);

}  // namespace reckon::models
