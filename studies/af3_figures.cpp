#include "studies/af3_figures.h"

#include "calculators/dry_run.h"
#include "models/af3/config.h"
#include "profiler/saved_groups.h"
#include "studies/af3_figures_data.h"

namespace reckon::cli {

using namespace models;

profiler::FrameworkEvents af3_operator_events(int64_t tokens) {
  return profiler::framework_events(calculators::dry_run(af3::profiled_step(tokens)).ledger.last_step_events(),
                                    {af3::autocast_modules()});
}

std::vector<Af3ActivationBar> af3_activation_bars(std::span<const int64_t> tokens) {
  std::vector<Af3ActivationBar> bars;
  for (int64_t n : tokens) {
    auto groups = profiler::saved_by_group(
        calculators::dry_run(af3::activation_step(n)).ledger.last_step_events(), af3::operator_family);
    bars.push_back({n, groups["transition"], groups["attention"], groups["other"]});
  }
  return bars;
}

std::vector<Af3PeakPoint> af3_checkpointed_peaks(std::span<const int64_t> tokens) {
  const auto peak = [](RunOptions o, bool hoisted, std::vector<profiler::WorkCell>* work = nullptr) {
    o.own<af3::StepOptions>().hoist_conditioner = hoisted;
    const profiler::Ledger ledger = calculators::dry_run(o).ledger;
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
  o.own<af3::StepOptions>().rollout = false;
  return profiler::find_repeated_subgraphs(calculators::dry_run(o).ledger.last_step_events());
}

}  // namespace reckon::cli
