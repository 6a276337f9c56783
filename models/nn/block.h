// What every block of every family is built on: its module scope, the casts of its weights, its
// residual branches and stacks of blocks. Model code opens these scopes and never asks which
// policy or precision is in force.
#pragma once

#include "autograd/autocast.h"
#include "autograd/checkpoint.h"
#include "models/nn/parameters.h"
#include "runtime/events/scope.h"

namespace reckon::models {

struct Block {
  NameId name{};
  std::vector<Tensor> product_weights;  // weights and biases of its linear layers
};

// Open while a block is built: its module path; the linear layers made meanwhile are noted as the block's.
class BlockBuilding {
 public:
  BlockBuilding(Block& block, std::string_view name, Builder& builder)
      : scope_(block.name = intern(name)), noting_(builder, block.product_weights) {}

 private:
  ModuleScope scope_;
  Builder::Noting noting_;
};

// Open while a block runs: its module path, and the low-precision casts of its weights, made in one launch.
class BlockRun {
 public:
  explicit BlockRun(const Block& block) : scope_(block.name), casts_(block.product_weights) {}

 private:
  ModuleScope scope_;
  autograd::WeightCasts casts_;
};

// What a residual branch adds: f(inputs), run again in backward under the checkpoint policy `sublayer`.
template <class F>
Tensor branch(TensorList inputs, F f) {
  const auto run = [f = std::move(f)](std::span<const Tensor> in) -> TensorList { return {f(in)}; };
  return autograd::segment(autograd::Boundary::sublayer, run, std::move(inputs))[0];
}

// Blocks in sequence: what f(block, state) gives replaces the first tensors of the state; each is run again
// in backward under the policy `block`.
template <class B, class F>
TensorList run_blocks(const std::vector<std::unique_ptr<B>>& blocks, TensorList state, F f) {
  for (const auto& owned : blocks) {
    const auto run = [block = owned.get(), f](std::span<const Tensor> v) -> TensorList { return f(*block, v); };
    TensorList out = autograd::segment(autograd::Boundary::block, run, state);
    for (size_t i = 0; i < out.size(); ++i) state[i] = std::move(out[i]);
  }
  return state;
}

}  // namespace reckon::models
