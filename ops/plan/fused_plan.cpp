#include "ops/plan/fused_plan.h"

namespace reckon::ops {

void check_fused_types(std::span<const Tensor> in, uint32_t weight_inputs, const char* op) {
  const Tensor* weight = nullptr;
  for (size_t i = 0; i < in.size(); ++i) {
    if (!in[i].defined()) continue;
    check_floating(in[i], op);
    RECKON_CHECK(in[i].rank() < 2 || in[i].size(-1) > 0,
                 "{} takes rows with elements, got input {} {}: call the function of its name", op, i,
                 describe(in[i]));
    RECKON_CHECK((in[i].dtype() == DType::f64) == (in[0].dtype() == DType::f64),
                 "{} computes f64 throughout or not at all: input 0 is {} and input {} is {}", op,
                 describe(in[0]), i, describe(in[i]));
    if (!((weight_inputs >> i) & 1u)) continue;
    if (!weight) weight = &in[i];
    RECKON_CHECK(in[i].numel() > 0,
                 "{} takes weights with elements, got input {} {}: call the function of its name", op, i,
                 describe(in[i]));
    RECKON_CHECK(in[i].dtype() == weight->dtype(), "{}'s weights and biases must share one type, got {} and {}",
                 op, describe(*weight), describe(in[i]));
  }
}

}  // namespace reckon::ops
