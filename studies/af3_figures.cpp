#include "studies/af3_figures.h"

#include "models/train/trainer.h"
#include "profiler/saved_groups.h"
#include "studies/af3_figures_data.h"

namespace reckon::cli {

using namespace models;

profiler::Ledger dry_run(const RunOptions& options, const DeviceSpec& spec) {
  Device device(DeviceKind::meta, spec);
  profiler::Ledger ledger;
  device.add_sink(&ledger);
  {
    Trainer trainer(options, device, /*with_data=*/false);
    while (!trainer.done()) trainer.step();
  }
  ledger.close();
  return ledger;
}

profiler::FrameworkEvents af3_operator_events(int64_t tokens) {
  return profiler::framework_events(dry_run(af3::profiled_step(tokens)).last_step_events(),
                                    {af3::autocast_modules()});
}

std::vector<Af3ActivationBar> af3_activation_bars(std::span<const int64_t> tokens) {
  std::vector<Af3ActivationBar> bars;
  for (int64_t n : tokens) {
    auto groups =
        profiler::saved_by_group(dry_run(af3::activation_step(n)).last_step_events(), af3::operator_family);
    bars.push_back({n, groups["transition"], groups["attention"], groups["other"]});
  }
  return bars;
}

std::vector<Af3PeakPoint> af3_checkpointed_peaks(std::span<const int64_t> tokens) {
  const auto peak = [](RunOptions o, bool hoisted, std::vector<profiler::WorkCell>* work = nullptr) {
    o.af3.hoist_conditioner = hoisted;
    const profiler::Ledger ledger = dry_run(o);
    if (work) *work = ledger.books().last->work;
    return ledger.books().for_memory().peak_bytes;
  };
  const autograd::FusionSet fused = autograd::FusionSet::parse("attention,norm-linear,transition");
  std::vector<Af3PeakPoint> points;
  for (int64_t n : tokens) {
    const RunOptions eager = af3::checkpointed_step(n, autograd::FusionSet::none()),
                     with_kernels = af3::checkpointed_step(n, fused);
    Af3PeakPoint p;
    p.tokens = n;
    p.eager = peak(eager, false, &p.eager_work);
    p.fused = peak(with_kernels, false, &p.fused_work);
    p.eager_hoisted = peak(eager, true);
    p.fused_hoisted = peak(with_kernels, true);
    p.smallest = peak(af3::smallest_step(n), true);
    points.push_back(std::move(p));
  }
  return points;
}

std::vector<profiler::RepeatedSubgraph> af3_repeated_work(int64_t tokens) {
  RunOptions o = af3::profiled_step(tokens);
  o.af3.rollout = false;
  return profiler::find_repeated_subgraphs(dry_run(o).last_step_events());
}

}  // namespace reckon::cli
