// The AF3-shaped model against published figures of a public baseline: parameters, operator events, activation bytes and
// peaks. Every number comes from a dry run.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "models/af3/figures_data.h"
#include "models/af3/model.h"
#include "models/train/trainer.h"
#include "profiler/framework_events.h"
#include "profiler/ledger.h"

namespace reckon::models::af3 {
namespace {

profiler::Ledger dry_run(const RunOptions& o) {
  Device device(DeviceKind::meta, DeviceSpec::this_machine());
  profiler::Ledger ledger;
  device.add_sink(&ledger);
  {
    Trainer trainer(o, device, /*with_data=*/false);
    while (!trainer.done()) trainer.step();
  }
  ledger.close();
  return ledger;
}

TEST(Af3Figures, OperatorEventsOfTheProfiledStepAreThePublishedOnes) {
  const profiler::Ledger ledger = dry_run(profiled_step(32));
  const profiler::FrameworkEvents e = profiler::framework_events(ledger.last_step_events(), {autocast_modules()});
  EXPECT_EQ(e.linear_calls, 32122);
  EXPECT_EQ(e.linear, 37538);
  EXPECT_EQ(e.native_layer_norm, 12686);
  EXPECT_EQ(e.sigmoid, 10903);
  EXPECT_EQ(e.silu, 2601);
}

}  // namespace
}  // namespace reckon::models::af3
