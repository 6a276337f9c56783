// Why activations cost memory: what each op of a small chain keeps until backward has used it.
#include "autograd/engine.h"
#include "examples/show.h"
#include "ops/activation/activation.h"
#include "ops/linear/linear.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/sum/sum.h"

int main() {
  using namespace show;
  Bench bench;
  Device& d = *bench.device;
  const Tensor gain = parameter(d, {256}, "gain"), up = parameter(d, {1024, 256}, "up"),
               down = parameter(d, {256, 1024}, "down");
  const Tensor x = random(d, {512, 256}, Category::input, "x");

  d.begin_step(0);
  {
    PhaseScope phase(Phase::forward);
    Tensor loss = ops::sum_all(ops::linear(ops::silu(ops::linear(ops::rms_norm(x, gain, 1e-6), up)), down));
    autograd::backward(loss);
  }
  d.end_step();

  const profiler::StepBooks& books = *bench.ledger.books().last;
  fmt::print("kept for backward at the fullest moment: {}\n", bytes(books.saved_bytes));
  for (const profiler::SavedCell& c : books.saved)
    fmt::print("  {:>12}  made by {:<10} {}\n", bytes(c.bytes), name_of(c.op),
               c.alias ? "(exists anyway: not part of the sum)" : "");
  fmt::print(
      "silu keeps its input, the linear after it keeps silu's output: the same numbers twice. A fused op keeps "
      "one of them.\n");
}
