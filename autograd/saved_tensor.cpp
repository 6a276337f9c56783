#include "autograd/saved_tensor.h"

#include <algorithm>

#include "autograd/grad_mode.h"
#include "autograd/node.h"
#include "runtime/events/scope.h"

namespace reckon::autograd {
namespace {

// The recipe a tensor carries, if it still says how the tensor came about.
std::shared_ptr<Recipe> recipe_of(const Tensor& t) {
  const AutogradMeta* meta = autograd_meta(t);
  return meta && meta->recipe && meta->recipe->describes(t) ? meta->recipe : nullptr;
}

}  // namespace

SavedTensor::SavedTensor(const Tensor& t, bool allow_recipe)
    : SavedTensor(t, allow_recipe && t.defined() ? recipe_of(t) : nullptr) {}

SavedTensor::SavedTensor(const Tensor& t, std::shared_ptr<Recipe> recipe) {
  if (recipe && recipe->add_user())
    recipe_ = std::move(recipe);
  else if (t.defined())
    keep(t);
}

void SavedTensor::keep(const Tensor& t) {
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

void SavedTensor::check() const {
  if (recipe_) recipe_->check();
  RECKON_CHECK(!tensor_.defined() || tensor_.storage()->version() == version_,
               "a tensor kept for backward ({}) was overwritten before backward used it: an in-place update "
               "between forward and backward",
               describe(tensor_));
}

Tensor SavedTensor::unpack() const {
  if (recipe_) return recipe_->rebuild();
  check();
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

Recipe::Recipe(const ops::OpDef& op, std::span<const Tensor> inputs, ops::AttrsPtr attrs, const Tensor& output,
               int output_index, bool output_is_view)
    : op_(op),
      attrs_(std::move(attrs)),
      output_index_(output_index),
      output_is_view_(output_is_view),
      output_version_(output.storage()->version()),
      module_(context().module) {
  inputs_.reserve(inputs.size());
  for (const Tensor& t : inputs) {
    Input& input = inputs_.emplace_back();
    if (!t.defined()) continue;
    input = {true, t.storage(), t.layout(), t.dtype(), t.storage()->version(), recipe_of(t)};
    if (input.recipe) depth_ = std::max(depth_, input.recipe->depth() + 1);
  }
}

bool Recipe::Input::alive() const {
  const std::shared_ptr<Storage> held = storage.lock();
  return held && held->version() == version;
}

bool Recipe::can_rebuild(uint64_t walk) const {
  if (users_ > 0) return true;
  if (asked_in_ == walk) return answer_;
  asked_in_ = walk;
  answer_ = std::all_of(inputs_.begin(), inputs_.end(), [walk](const Input& i) {
    return !i.present || (i.recipe && i.recipe->can_rebuild(walk)) || i.alive();
  });
  return answer_;
}

bool Recipe::add_user() {
  thread_local uint64_t walks = 0;
  if (!can_rebuild(++walks)) return false;
  if (users_++ > 0) return true;
  saved_inputs_.reserve(inputs_.size());
  for (const Input& i : inputs_) {
    const std::shared_ptr<Storage> storage = i.alive() ? i.storage.lock() : nullptr;
    const Tensor t = storage ? Tensor(storage, i.layout, i.dtype) : Tensor{};
    saved_inputs_.emplace_back(t, i.recipe);
  }
  listen();
  return true;
}

void Recipe::drop_user() {
  if (--users_ == 0) forget();
}

void Recipe::listen() {
  for (size_t i = 0; i < saved_inputs_.size(); ++i) {
    if (const Tensor& kept = saved_inputs_[i].kept(); kept.defined())
      kept.storage()->add_listener(this);
    else if (inputs_[i].recipe)
      inputs_[i].recipe->followers_.push_back(this);
  }
}

void Recipe::stop_listening() {
  for (size_t i = 0; i < saved_inputs_.size(); ++i) {
    if (const Tensor& kept = saved_inputs_[i].kept(); kept.defined())
      kept.storage()->remove_listener(this);
    else if (inputs_[i].recipe)
      std::erase(inputs_[i].recipe->followers_, static_cast<WriteListener*>(this));
  }
}

void Recipe::forget() {
  stop_listening();
  saved_inputs_.clear();
  rebuilt_early_.release();
  rebuilt_ = {};
}

Tensor Recipe::rebuild() {
  // A rebuilt view lasts as long as what it views, which is asked for again.
  if (rebuilt_.defined() && !output_is_view_) return rebuilt_;
  std::vector<Tensor> inputs;
  inputs.reserve(saved_inputs_.size());
  for (const SavedTensor& s : saved_inputs_) inputs.push_back(s.unpack());
  if (rebuilt_.defined()) return rebuilt_;
  Scope scope;
  context().module = module_;
  context().phase = Phase::recompute;
  rebuilt_ = ops::dispatch(op_, inputs, attrs_)[static_cast<size_t>(output_index_)];
  return rebuilt_;
}

// Only a view can go stale: other outputs are rebuilt before their inputs change.
void Recipe::check() const {
  if (!output_is_view_) return;
  for (const SavedTensor& s : saved_inputs_) s.check();
}

void Recipe::before_write() {
  // A view shares the bytes that are about to change: it goes with them, as a kept view would, but what was made
  // of it does not.
  if (output_is_view_) {
    const std::vector<WriteListener*> told = followers_;
    for (WriteListener* follower : told)
      if (std::find(followers_.begin(), followers_.end(), follower) != followers_.end())
        follower->before_write();
    return;
  }
  rebuild();
  rebuilt_early_ = SavedTensor(rebuilt_, nullptr);
  stop_listening();
  saved_inputs_.clear();
}

std::shared_ptr<Recipe> make_recipe(const ops::OpDef& op, std::span<const Tensor> inputs,
                                    const ops::AttrsPtr& attrs, const ops::OutputSpec& spec,
                                    const Tensor& output, int output_index) {
  if (op.recompute != ops::Recompute::cheap || spec.writes) return nullptr;
  auto recipe = std::make_shared<Recipe>(op, inputs, attrs, output, output_index, spec.alias_of >= 0);
  return recipe->depth() <= Recipe::kLongestChain ? recipe : nullptr;
}

}  // namespace reckon::autograd
