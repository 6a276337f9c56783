// Checkpointing trades a second forward for memory, and changes no bit of the gradients.
#include <cstring>

#include "autograd/checkpoint.h"
#include "autograd/engine.h"
#include "examples/show.h"
#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/linear/linear.h"
#include "ops/sum/sum.h"

using namespace show;

namespace {

struct Outcome {
  int64_t saved, peak, recomputed;
  std::vector<float> gradient;
};

Outcome train(autograd::CheckpointPolicy policy) {
  Bench bench;
  Device& d = *bench.device;
  std::vector<Tensor> up, down;
  for (int i = 0; i < 8; ++i) {
    up.push_back(parameter(d, {512, 128}, "up"));
    down.push_back(parameter(d, {128, 512}, "down"));
  }
  Tensor x = random(d, {256, 128}, Category::input, "x");
  d.begin_step(0);
  {
    autograd::CheckpointScope scope(policy);
    PhaseScope phase(Phase::forward);
    Tensor h = x;
    for (int i = 0; i < 8; ++i) {
      ModuleScope module("block" + std::to_string(i));
      const auto block = [u = up[i], w = down[i]](std::span<const Tensor> in) -> TensorList {
        return {ops::add(in[0], ops::linear(ops::gelu(ops::linear(in[0], u)), w))};
      };
      h = autograd::segment(autograd::Boundary::block, block, {h})[0];
    }
    Tensor loss = ops::sum_all(h);
    h = {};
    autograd::backward(loss);
  }
  d.end_step();
  const profiler::StepBooks& b = *bench.ledger.books().last;
  const Tensor g = autograd::grad_of(up[0]);
  return {b.saved_bytes, b.peak_bytes, b.cost_by_phase()[static_cast<size_t>(Phase::recompute)].matmul_flops,
          std::vector<float>(g.data<float>(), g.data<float>() + g.numel())};
}

}  // namespace

int main() {
  using autograd::CheckpointPolicy;
  const Outcome none = train(CheckpointPolicy::none);
  fmt::print("{:<10} {:>14} {:>12} {:>22}  gradient\n", "policy", "kept", "peak", "recomputed FLOPs");
  for (CheckpointPolicy p : {CheckpointPolicy::none, CheckpointPolicy::selective, CheckpointPolicy::block}) {
    const Outcome o = train(p);
    const bool same =
        std::memcmp(o.gradient.data(), none.gradient.data(), none.gradient.size() * sizeof(float)) == 0;
    fmt::print("{:<10} {:>14} {:>12} {:>22}  {}\n", autograd::name_of(p), bytes(o.saved), bytes(o.peak),
               format_count(o.recomputed), same ? "bitwise equal" : "DIFFERENT");
    if (!same) return 1;
  }
}
