#include "models/train/optimizer.h"

#include <algorithm>
#include <map>

#include "autograd/fusion.h"
#include "autograd/node.h"
#include "ops/adamw/adamw.h"
#include "ops/binary/binary.h"
#include "ops/grad_norm/grad_norm.h"
#include "ops/grad_scaler/grad_scaler.h"
#include "ops/sgd/sgd.h"
#include "runtime/events/scope.h"

namespace reckon::models {

using autograd::fuses;
using autograd::Fusion;

namespace {

// PyTorch's gradient scaler defaults.
constexpr double kInitialScale = 65536.0, kGrowth = 2.0, kBackoff = 0.5;
constexpr int64_t kGrowthInterval = 2000;

}  // namespace

OptimizerKind optimizer_from_name(std::string_view name) {
  for (OptimizerKind k : {OptimizerKind::adamw, OptimizerKind::sgd})
    if (name == name_of(k)) return k;
  raise_error(fmt::format("unknown optimizer '{}': expected adamw or sgd", name));
}

std::string_view name_of(OptimizerKind k) { return k == OptimizerKind::adamw ? "adamw" : "sgd"; }

Optimizer::Optimizer(const ParameterSet& parameters, OptimizerOptions options) : options_(options) {
  for (const NamedParameter& p : parameters.all())
    if (p.tensor.requires_grad()) slots_.push_back({&p});
  RECKON_CHECK(!slots_.empty(), "every parameter is frozen: there is nothing to train");
}

Tensor Optimizer::make_state(const Slot& slot, std::string_view label) const {
  const Tensor& p = slot.parameter->tensor;
  return ops::full(p.device(), p.shape(), p.dtype(), 0.0, Category::optimizer, label);
}

void Optimizer::create(Slot& slot) {
  if (slot.first.defined()) return;
  Scope scope;
  context().module = intern(slot.parameter->name);
  context().op = intern("optimizer_state");
  if (options_.kind == OptimizerKind::adamw) {
    slot.first = make_state(slot, "exp_avg");
    slot.second = make_state(slot, "exp_avg_sq");
  } else if (options_.momentum != 0) {
    slot.first = make_state(slot, "momentum");
  }
}

void Optimizer::create_scaler() {
  if (!options_.scale_loss || scale_.defined()) return;
  Device& device = slots_.at(0).parameter->tensor.device();
  scale_ = ops::full(device, {1}, DType::f32, kInitialScale, Category::optimizer, "loss_scale");
  growth_tracker_ = ops::full(device, {1}, DType::i64, 0.0, Category::optimizer, "growth_tracker");
  if (!counts_on_device()) return;
  const auto n = static_cast<int64_t>(slots_.size());
  counters_ = ops::full(device, {n}, DType::f32, 0.0, Category::optimizer, "updates");
  for (int64_t i = 0; i < n; ++i) slots_[static_cast<size_t>(i)].counter = counters_.sliced(0, i, i + 1);
}

const Tensor& Optimizer::loss_scale() {
  create_scaler();
  return scale_;
}

double Optimizer::weight_decay_of(const Slot& slot) const {
  return options_.decay_vectors || slot.parameter->tensor.rank() > 1 ? options_.weight_decay : 0.0;
}

void Optimizer::update_adamw(std::span<Slot* const> used, std::span<const Tensor> grads, double lr,
                             double weight_decay, const Tensor& factor, const Tensor& skip) {
  const ops::AdamWSettings settings{.lr = lr,
                                    .beta1 = options_.beta1,
                                    .beta2 = options_.beta2,
                                    .eps = options_.eps,
                                    .weight_decay = weight_decay,
                                    .step = used[0]->updates + 1};
  std::vector<Tensor> params, first, second, counters;
  for (const Slot* s : used) {
    if (s->counter.defined()) counters.push_back(s->counter);
    params.push_back(s->parameter->tensor.detached());
    first.push_back(s->first);
    second.push_back(s->second);
  }
  if (fuses(Fusion::adamw))
    return ops::adamw_all(params, grads, first, second, settings, factor, skip, counters);
  for (size_t i = 0; i < used.size(); ++i) {
    Scope scope;
    context().module = intern(used[i]->parameter->name);
    ops::adamw_eager(params[i], grads[i], first[i], second[i], settings, factor, skip, used[i]->counter);
  }
}

void Optimizer::update(std::span<Slot* const> used, std::span<const Tensor> grads, double lr,
                       const Tensor& factor, const Tensor& skip) {
  if (options_.kind == OptimizerKind::adamw) {
    // One group with weight decay, one without, and of each one for every number of updates made so far.
    struct Group {
      std::vector<Slot*> slots;
      std::vector<Tensor> grads;
    };
    std::map<std::pair<bool, int64_t>, Group> groups;
    for (size_t i = 0; i < used.size(); ++i) {
      Group& group = groups[{weight_decay_of(*used[i]) == 0, used[i]->updates}];
      group.slots.push_back(used[i]);
      group.grads.push_back(grads[i]);
    }
    for (const auto& [key, group] : groups)
      update_adamw(group.slots, group.grads, lr, key.first ? 0.0 : options_.weight_decay, factor, skip);
  } else {
    for (size_t i = 0; i < used.size(); ++i) {
      Scope scope;
      context().module = intern(used[i]->parameter->name);
      Tensor param = used[i]->parameter->tensor.detached();
      ops::sgd(param, grads[i], used[i]->first,
               {.lr = lr,
                .momentum = options_.momentum,
                .weight_decay = weight_decay_of(*used[i]),
                .step = used[i]->updates + 1},
               factor, skip);
    }
  }
}

Tensor Optimizer::step(int64_t step, double lr) {
  RECKON_CHECK(step >= 0, "an optimizer step must be 0 or later, got {}", step);
  RECKON_CHECK(
      !half_done_,
      "the update before this one raised part way, so some parameters are a step ahead of others: load a "
      "checkpoint");
  PhaseScope phase(Phase::optimizer);
  std::vector<Tensor> grads;
  std::vector<Slot*> used;
  for (Slot& s : slots_) {
    Tensor g = autograd::grad_of(s.parameter->tensor);
    if (!g.defined()) continue;
    create(s);
    grads.push_back(std::move(g));
    used.push_back(&s);
  }
  RECKON_CHECK(!grads.empty(),
               "no parameter has a gradient: backward did not run, or the loss depends on none of them");

  Tensor skip, norm, factor;
  if (options_.scale_loss) {
    skip = ops::non_finite(grads);
    const Tensor one = ops::full(scale_.device(), {1}, DType::f32, 1.0, Category::transient, "one");
    ops::scale_all_(grads, ops::div(one, scale_));
  }
  if (options_.clip > 0) {
    norm = fuses(Fusion::adamw) ? ops::grad_norm(grads) : ops::grad_norm_eager(grads);
    factor = ops::clip_coefficient(norm, options_.clip);
  }
  half_done_ = true;
  update(used, grads, lr, factor, skip);
  for (Slot* s : used)
    if (!s->counter.defined()) ++s->updates;
  if (options_.scale_loss)
    ops::scaler_update(scale_, growth_tracker_, skip, kGrowth, kBackoff, kGrowthInterval);
  half_done_ = false;
  grads.clear();
  for (const Slot& s : slots_) autograd::clear_grad(s.parameter->tensor);
  return norm;
}

std::vector<NamedParameter> Optimizer::state() {
  PhaseScope phase(Phase::optimizer);
  std::vector<NamedParameter> out;
  create_scaler();
  for (Slot& s : slots_) {
    create(s);
    if (options_.kind == OptimizerKind::adamw) {
      out.push_back({"exp_avg." + s.parameter->name, s.first});
      out.push_back({"exp_avg_sq." + s.parameter->name, s.second});
    } else if (s.first.defined()) {
      out.push_back({"momentum." + s.parameter->name, s.first});
    }
  }
  if (scale_.defined()) {
    out.push_back({"loss_scale", scale_});
    out.push_back({"growth_tracker", growth_tracker_});
  }
  return out;
}

std::vector<int64_t> Optimizer::updates() const {
  std::vector<int64_t> counts;
  for (const Slot& s : slots_) counts.push_back(s.updates);
  if (!counters_.defined()) return counts;
  std::vector<float> on_device(slots_.size());
  counters_.copy_to_host(on_device.data(), on_device.size() * sizeof(float));
  std::copy(on_device.begin(), on_device.end(), counts.begin());
  return counts;
}

void Optimizer::set_updates(std::span<const int64_t> counts) {
  RECKON_CHECK(counts.size() == slots_.size(), "{} counts of updates for {} trained parameters", counts.size(),
               slots_.size());
  half_done_ = false;
  create_scaler();
  if (!counters_.defined()) {
    for (size_t i = 0; i < slots_.size(); ++i) slots_[i].updates = counts[i];
    return;
  }
  const std::vector<float> on_device(counts.begin(), counts.end());
  counters_.copy_from_host(on_device.data(), on_device.size() * sizeof(float));
}

}  // namespace reckon::models
