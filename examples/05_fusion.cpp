// A fused op keeps less: SwiGLU as two ops and as one, the same numbers and another ledger.
#include "autograd/engine.h"
#include "examples/show.h"
#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/linear/linear.h"
#include "ops/sum/sum.h"
#include "ops/transition/transition.h"

using namespace show;

namespace {

void train(bool fused) {
  Bench bench;
  Device& d = *bench.device;
  const Tensor gate = parameter(d, {704, 256}, "gate"), up = parameter(d, {704, 256}, "up"),
               down = parameter(d, {256, 704}, "down");
  const Tensor x = random(d, {512, 256}, Category::input, "x");
  double value = 0;
  d.begin_step(0);
  {
    PhaseScope phase(Phase::forward);
    Tensor y;
    if (fused) {
      y = ops::swiglu_transition(x, {}, {}, gate, up, down, 0.0);
    } else {
      const Tensor g = ops::linear(x, gate), u = ops::linear(x, up);
      y = ops::linear(ops::mul(ops::silu(g), u), down);
    }
    Tensor loss = ops::sum_all(y);
    y = {};
    value = *loss.data<float>();
    autograd::backward(loss);
  }
  d.end_step();
  const profiler::StepBooks& b = *bench.ledger.books().last;
  fmt::print("{:<6} loss {:>12.6f}   kept for backward {:>10}   launches {:>3}\n", fused ? "fused" : "eager",
             value, bytes(b.saved_bytes), b.n_launches());
}

}  // namespace

int main() {
  fmt::print("SwiGLU feed-forward, 512 rows, 256 -> 704 -> 256\n");
  train(false);
  train(true);
  fmt::print("Eager keeps gate, silu(gate), up and their product; fused keeps gate and up.\n");
}
