// AdamW and SGD over a parameter set, with clipping and (for f16) loss scaling that never
// branches on a value: the clip coefficient, the scale and the found-infinity flag stay on the
// device, so a dry run makes the same calls. Each parameter's updates are counted for itself, as PyTorch
// does: one whose first gradient comes late begins with its first bias correction, and a step that
// the loss scale skips does not count. The count is the host's, and with loss scaling, where the
// device decides, the device's: f32 [1] per parameter, category optimizer.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "models/nn/parameters.h"

namespace reckon::models {

enum class OptimizerKind : uint8_t { adamw, sgd };
OptimizerKind optimizer_from_name(std::string_view name);
std::string_view name_of(OptimizerKind k);

struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::adamw;
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.01, momentum = 0.9;
  bool decay_vectors = true;  // false: weight decay leaves biases and norm weights (rank 1) alone
  double clip = 1.0;          // largest 2-norm of all gradients together; 0: no clipping
  bool scale_loss = false;    // f16: gradients arrive multiplied by the loss scale
};

// Frozen parameters (that require no gradient) have no part in it: no state, no update.
class Optimizer {
 public:
  Optimizer(const ParameterSet& parameters, OptimizerOptions options);

  // The loss scale [1] to multiply the loss with; undefined without scaling. Created at the first call.
  const Tensor& loss_scale();
  // One update from the gradients the parameters hold; then drops them. `step` is the trainer's, from 0.
  // Returns the gradient norm before clipping [1], undefined when clipping is off. What raises before the first
  // parameter is written changes nothing. With AdamW in one launch (fused) all memory is taken before that; an
  // update that raises later is an error at every further step, until a checkpoint is loaded (set_updates).
  Tensor step(int64_t step, double lr);

  // State tensors under stable names ("exp_avg.<parameter>", ...), creating those that do not exist yet.
  std::vector<NamedParameter> state();

  // How many updates each parameter that is trained had, in the order of the set; reads the device.
  std::vector<int64_t> updates() const;
  void set_updates(std::span<const int64_t> counts);

 private:
  struct Slot {
    const NamedParameter* parameter;
    Tensor first, second;  // exp_avg and exp_avg_sq, or momentum
    Tensor counter;        // of its updates, on the device
    int64_t updates = 0;   // without one
  };
  void create(Slot& slot);
  void update(std::span<Slot* const> used, std::span<const Tensor> grads, double lr, const Tensor& factor,
              const Tensor& skip);
  // Slots of one weight decay and, where the host counts, of one number of updates.
  void update_adamw(std::span<Slot* const> used, std::span<const Tensor> grads, double lr, double weight_decay,
                    const Tensor& factor, const Tensor& skip);
  double weight_decay_of(const Slot& slot) const;
  Tensor make_state(const Slot& slot, std::string_view label) const;
  bool counts_on_device() const { return options_.scale_loss && options_.kind == OptimizerKind::adamw; }
  void create_scaler();

  OptimizerOptions options_;
  std::vector<Slot> slots_;
  bool half_done_ = false;                    // an update has begun and not ended
  Tensor scale_, growth_tracker_, counters_;  // counters_: [trained parameters], what the slots' are views of
};

}  // namespace reckon::models
