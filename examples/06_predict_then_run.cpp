// A dry run is the run: the same code on meta predicts every event of the real step, before there is any data.
#include "autograd/engine.h"
#include "examples/show.h"
#include "models/qwen/qwen.h"
#include "profiler/audit.h"

using namespace show;

namespace {

std::vector<Event> step(DeviceKind kind) {
  Bench bench(kind);
  bench.ledger.keep_events(true);
  {
    Device& d = *bench.device;
    const models::Qwen model(d, models::QwenConfig::preset("tiny"), /*seed=*/1);
    const std::vector<int64_t> text(2 * 16, 65);
    const Tensor ids =
        Tensor::from_host(d, {2, 16}, DType::i64, text.data(), text.size() * 8, Category::input, "ids");
    d.begin_step(0);
    PhaseScope phase(Phase::forward);
    autograd::backward(model.loss(ids, ids));
    d.end_step();
  }
  return {bench.ledger.events().begin(), bench.ledger.events().end()};
}

}  // namespace

int main() {
  const std::vector<Event> predicted = step(DeviceKind::meta), executed = step(DeviceKind::cpu);
  const profiler::AuditResult result = profiler::audit(predicted, executed);
  fmt::print("{}\n", result.text);
  return result.equal ? 0 : 1;
}
