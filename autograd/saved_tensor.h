// What a node keeps for backward: the tensor itself, or (checkpoint policy `selective`) the recipe to rebuild
// it. Kept tensors are counted by their storage, so the ledger sees them become `saved` and stop being so.
#pragma once

#include <memory>
#include <vector>

#include "ops/op.h"

namespace reckon::autograd {

class Recipe;

class SavedTensor {
 public:
  SavedTensor() = default;
  // Keeps `t`, or its recipe when it carries one that still holds and recipes are wanted.
  SavedTensor(const Tensor& t, bool allow_recipe);
  // Keeps the recipe when it can be followed, else `t`.
  SavedTensor(const Tensor& t, std::shared_ptr<Recipe> recipe);
  ~SavedTensor() { release(); }
  SavedTensor(SavedTensor&& o) noexcept;
  SavedTensor& operator=(SavedTensor&& o) noexcept;

  // The tensor without gradient history; rebuilds it when only a recipe was kept. Error when the storage was
  // written to since it was saved.
  Tensor unpack() const;
  void check() const;  // the error that unpack would raise now, without rebuilding anything
  void release();
  // The tensor that is kept itself; undefined under a recipe.
  const Tensor& kept() const { return tensor_; }

 private:
  void keep(const Tensor& t);

  Tensor tensor_;
  uint32_t version_ = 0;
  std::shared_ptr<Recipe> recipe_;
};

// How to rebuild one output of a cheap op. It notes the inputs and their versions when the op runs and keeps
// nothing alive until somebody saves the output; then it keeps the inputs, or their recipes. Shared by everyone
// who saved that output: rebuilt once, at the first use, and forgotten with the last user. Before an input is
// overwritten the output is rebuilt at once, so that a write harms backward no more than without recipes.
class Recipe : public WriteListener {
 public:
  // `inputs` and `output` as the op had and made them; `output_index` among the op's outputs.
  Recipe(const ops::OpDef& op, std::span<const Tensor> inputs, ops::AttrsPtr attrs, const Tensor& output,
         int output_index, bool output_is_view);
  ~Recipe() override { forget(); }
  Recipe(const Recipe&) = delete;
  Recipe& operator=(const Recipe&) = delete;

  // Whether this is still how `output` came about: false once it was written to.
  bool describes(const Tensor& output) const { return output.storage()->version() == output_version_; }
  // False when the inputs are gone or were overwritten: the output itself must be kept then.
  bool add_user();
  void drop_user();
  Tensor rebuild();
  void check() const;
  void before_write() override;

  // Recipes below this one that may have to be followed first. A chain is cut (an output gets no recipe) at
  // kLongestChain, which bounds the depth of every walk along it.
  int depth() const { return depth_; }
  static constexpr int kLongestChain = 64;

 private:
  struct Input {
    bool present = false;
    std::weak_ptr<Storage> storage;
    Layout layout;
    DType dtype = DType::f32;
    uint32_t version = 0;
    std::shared_ptr<Recipe> recipe;

    bool alive() const;
  };
  // `walk` numbers one question, so that a recipe with many ways to it is asked once.
  bool can_rebuild(uint64_t walk) const;
  void forget();
  // Hears of writes to what it keeps: from the storages, and from the recipes that it follows.
  void listen();
  void stop_listening();

  const ops::OpDef& op_;
  std::vector<Input> inputs_;
  std::vector<SavedTensor>
      saved_inputs_;  // while there are users, until the output was rebuilt ahead of a write
  ops::AttrsPtr attrs_;
  int output_index_;
  bool output_is_view_;
  uint32_t output_version_;
  NameId module_;
  int depth_ = 1;
  int users_ = 0;
  std::vector<WriteListener*> followers_;  // recipes that follow this one
  mutable uint64_t asked_in_ = 0;
  mutable bool answer_ = false;
  Tensor rebuilt_;
  SavedTensor rebuilt_early_;  // marks `rebuilt_` as kept for backward while forward goes on
};

// The recipe for an output of a call, if there can be one: the op is cheap and the chain not too long.
std::shared_ptr<Recipe> make_recipe(const ops::OpDef& op, std::span<const Tensor> inputs,
                                    const ops::AttrsPtr& attrs, const ops::OutputSpec& spec,
                                    const Tensor& output, int output_index);

}  // namespace reckon::autograd
