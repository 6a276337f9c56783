// One op, and what the books say about it: its bytes, its launch, its FLOPs, counted
// before it ran and while it ran.
#include "examples/show.h"
#include "ops/linear/linear.h"

int main() {
  using namespace show;
  Bench bench;
  const Tensor x = random(*bench.device, {64, 256}, Category::input, "x");
  const Tensor w = random(*bench.device, {512, 256}, Category::input, "w");

  bench.device->begin_step(0);
  const Tensor y = ops::linear(x, w);
  bench.device->end_step();

  const profiler::StepBooks& books = *bench.ledger.books().last;
  const profiler::WorkCell& work = books.work.at(0);
  fmt::print("y = linear(x [64, 256], w [512, 256]) -> {}\n", describe(y));
  fmt::print("  launches        {}\n", books.n_launches());
  fmt::print("  matmul FLOPs    {}   (2 * 64 * 512 * 256)\n", format_count(work.cost.matmul_flops));
  fmt::print("  least traffic   {} read, {} written\n", bytes(work.cost.bytes_read),
             bytes(work.cost.bytes_written));
  fmt::print("  output          {} ({} * 4 bytes)\n", bytes(static_cast<int64_t>(y.bytes())),
             format_count(y.numel()));
  fmt::print("  workspace       {} while the product ran\n",
             bytes(books.max_by_category[static_cast<size_t>(Category::workspace)]));

  const Tensor view = y.transposed(0, 1).sliced(0, 0, 10);
  fmt::print("A transposed slice of y is {} and costs {} bytes: it shares y's storage.\n", describe(view),
             view.storage() == y.storage() ? 0 : static_cast<int64_t>(view.bytes()));
}
