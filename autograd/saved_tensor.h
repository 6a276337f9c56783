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
  // Keeps `t`, or its recipe when it carries one and recipes are wanted.
  SavedTensor(const Tensor& t, bool allow_recipe);
  ~SavedTensor() { release(); }
  SavedTensor(SavedTensor&& o) noexcept;
  SavedTensor& operator=(SavedTensor&& o) noexcept;

  // The tensor without gradient history; rebuilds it when only a recipe was kept. Error when the storage was
  // written to since it was saved.
  Tensor unpack() const;
  void release();

 private:
  Tensor tensor_;
  uint32_t version_ = 0;
  std::shared_ptr<Recipe> recipe_;
};

// How to rebuild one output of a cheap op. Shared by everyone who saved that output: rebuilt once, at the
// first use, and spent with the last user.
class Recipe {
 public:
  Recipe(const ops::OpDef& op, std::vector<Tensor> inputs, ops::AttrsPtr attrs, int output);

  // The first user turns the inputs into saved tensors. False when the last one has gone already, and the
  // inputs with it: the output itself must be kept then.
  bool add_user();
  void drop_user();
  Tensor rebuild();

 private:
  const ops::OpDef& op_;
  // Until the first user: nobody knows yet whether there will be one, so an output that nobody saves holds
  // its inputs for as long as it lives itself.
  std::vector<Tensor> inputs_;
  std::vector<SavedTensor> saved_inputs_;
  ops::AttrsPtr attrs_;
  int output_;
  NameId module_;
  int users_ = 0;
  bool spent_ = false;
  Tensor rebuilt_;
};

}  // namespace reckon::autograd
