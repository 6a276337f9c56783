#include "autograd/saved_tensor.h"

#include "autograd/grad_mode.h"
#include "autograd/node.h"
#include "runtime/events/scope.h"

namespace reckon::autograd {

SavedTensor::SavedTensor(const Tensor& t, bool allow_recipe) {
  if (!t.defined()) return;
  if (allow_recipe) {
    if (const AutogradMeta* meta = autograd_meta(t); meta && meta->recipe && meta->recipe->add_user()) {
      recipe_ = meta->recipe;
      return;
    }
  }
  tensor_ = t.detached();
  version_ = tensor_.storage()->version();
  tensor_.storage()->add_saver();
}

SavedTensor::SavedTensor(SavedTensor&& o) noexcept
    : tensor_(std::move(o.tensor_)), version_(o.version_), recipe_(std::move(o.recipe_)) {
  o.tensor_ = {};
  o.recipe_ = nullptr;
}

SavedTensor& SavedTensor::operator=(SavedTensor&& o) noexcept {
  if (this == &o) return *this;
  release();
  tensor_ = std::move(o.tensor_);
  version_ = o.version_;
  recipe_ = std::move(o.recipe_);
  o.tensor_ = {};
  o.recipe_ = nullptr;
  return *this;
}

Tensor SavedTensor::unpack() const {
  if (recipe_) return recipe_->rebuild();
  if (!tensor_.defined()) return {};
  RECKON_CHECK(tensor_.storage()->version() == version_,
               "a tensor kept for backward ({}) was overwritten before backward used it: an in-place update "
               "between forward and backward",
               describe(tensor_));
  return tensor_;
}

void SavedTensor::release() {
  if (tensor_.defined()) {
    tensor_.storage()->drop_saver();
    tensor_ = {};
  }
  if (recipe_) {
    recipe_->drop_user();
    recipe_.reset();
  }
}

Recipe::Recipe(const ops::OpDef& op, std::vector<Tensor> inputs, ops::AttrsPtr attrs, int output)
    : op_(op),
      inputs_(std::move(inputs)),
      attrs_(std::move(attrs)),
      output_(output),
      module_(context().module) {}

bool Recipe::add_user() {
  if (spent_) return false;
  if (users_++ > 0) return true;
  for (Tensor& t : inputs_) saved_inputs_.emplace_back(t, /*allow_recipe=*/true);
  inputs_.clear();
  return true;
}

void Recipe::drop_user() {
  if (--users_ > 0) return;
  spent_ = true;
  saved_inputs_.clear();
  rebuilt_ = {};
}

Tensor Recipe::rebuild() {
  if (rebuilt_.defined()) return rebuilt_;
  std::vector<Tensor> inputs;
  for (const SavedTensor& s : saved_inputs_) inputs.push_back(s.unpack());
  Scope scope;
  context().module = module_;
  context().phase = Phase::recompute;
  rebuilt_ = ops::dispatch(op_, inputs, attrs_)[static_cast<size_t>(output_)];
  return rebuilt_;
}

}  // namespace reckon::autograd
