#include "parity/step.h"

#include "autograd/engine.h"

namespace reckon::parity {

double StepModel::loss_of(const TensorList& outputs) const {
  if (seeds.empty()) return to_doubles(outputs.at(0)).at(0);
  double loss = 0;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::vector<double> a = to_doubles(outputs[i]), w = to_doubles(seeds[i]);
    for (size_t k = 0; k < a.size(); ++k) loss += a[k] * w[k];
  }
  return loss;
}

void StepModel::backward(const TensorList& outputs) const {
  if (seeds.empty())
    autograd::backward(outputs.at(0));
  else
    backward_from(outputs, seeds);
}

StepModel open_step(Case& c) {
  if (c.has_meta("family")) return open_qwen_step(c);
  if (c.has_meta("source") && c.has_meta("config")) return open_module_step(c);
  raise_error("cannot run as a step: the metadata names neither a model family nor a class with its config");
}

}  // namespace reckon::parity
