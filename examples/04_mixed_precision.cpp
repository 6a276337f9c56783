// Mixed precision makes casts, and casts are bytes: a category of their own. And what the types can hold.
#include "autograd/autocast.h"
#include "autograd/engine.h"
#include "examples/show.h"
#include "ops/linear/linear.h"
#include "ops/sum/sum.h"

using namespace show;

namespace {

void train(DType type) {
  Bench bench;
  Device& d = *bench.device;
  const Tensor a = parameter(d, {1024, 512}, "a"), b = parameter(d, {512, 1024}, "b");
  const Tensor x = random(d, {128, 512}, Category::input, "x");
  d.begin_step(0);
  {
    autograd::AutocastScope cast(type);
    PhaseScope phase(Phase::forward);
    Tensor loss = ops::sum_all(ops::linear(ops::linear(x, a), b));
    autograd::backward(loss);
  }
  d.end_step();
  const auto most = bench.ledger.books().last->max_by_category;
  const auto at = [&](Category c) { return bytes(most[static_cast<size_t>(c)]); };
  fmt::print("{:<5} parameters {:>9}  gradients {:>9}  casts {:>10}  kept {:>10}  peak {:>9}\n", name_of(type),
             at(Category::parameter), at(Category::gradient), at(Category::cast), at(Category::saved),
             bytes(bench.ledger.books().last->peak_bytes));
}

}  // namespace

int main() {
  fmt::print("{:>12} {:>14} {:>14} {:>10} {:>10}\n", "f32", "bf16", "f16", "f8e4m3", "f8e5m2");
  for (float v : {1.001f, 3.14159265f, 65520.0f, 1e-6f, 500.0f})
    fmt::print("{:>12g} {:>14g} {:>14g} {:>10g} {:>10g}\n", v, bf16_to_f32(f32_to_bf16(v)),
               f16_to_f32(f32_to_f16(v)), f8e4m3_to_f32(f32_to_f8e4m3(v)), f8e5m2_to_f32(f32_to_f8e5m2(v)));
  fmt::print(
      "f16 loses the range (65520 is infinity), bf16 loses the digits (1.001 is 1).\n\nLargest bytes of each "
      "category in one step:\n");
  for (DType t : {DType::f32, DType::bf16, DType::f16}) train(t);
}
