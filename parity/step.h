// A case file as a training step that can be run again and again: the model built once with the file's weights,
// its batch lying on the device. Called by `reckon bench step`.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "models/nn/parameters.h"
#include "parity/case.h"

namespace reckon::parity {

struct StepModel {
  std::string kind;                                    // a class or a model family
  const models::ParameterSet* parameters = nullptr;    // owned by `forward`
  std::vector<std::pair<std::string, Tensor>> leaves;  // what collects gradients, under the file's names
  std::function<TensorList()> forward;                 // the outputs; opens its own phases
  TensorList seeds;                                    // a cotangent per output; empty: the output is the loss

  // The loss, or the sum of outputs times cotangents (what backward differentiates).
  double loss_of(const TensorList& outputs) const;
  void backward(const TensorList& outputs) const;
};

StepModel open_qwen_step(Case& c);
StepModel open_module_step(Case& c);
// By the file's metadata; Error when it names no model or class that is known here.
StepModel open_step(Case& c);

}  // namespace reckon::parity
