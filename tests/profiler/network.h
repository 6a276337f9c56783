// A small network that trains for some steps under a ledger, for the tests of the profiler.
#pragma once

#include <memory>
#include <vector>

#include "autograd/grad_mode.h"
#include "profiler/ledger.h"
#include "runtime/device.h"

namespace reckon::testing {

struct NetworkOptions {
  DeviceKind kind = DeviceKind::meta;
  autograd::CheckpointPolicy policy = autograd::CheckpointPolicy::none;
  DType precision = DType::f32;
  int64_t steps = 3, blocks = 3, batch = 6;
};

struct TrainedNetwork {
  std::vector<Event> events;  // of the whole life of the device
  profiler::RunRecord record;
  ArenaStats at_end;  // before the tensors went
  profiler::ProcessBooks process;
};

TrainedNetwork train_network(const NetworkOptions& options);

}  // namespace reckon::testing
