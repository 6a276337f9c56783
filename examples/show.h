// What the examples share: a device with a ledger, parameters, and two ways to print.
#pragma once

#include <fmt/format.h>

#include <memory>

#include "autograd/node.h"
#include "ops/fill/fill.h"
#include "profiler/ledger.h"
#include "runtime/core/format.h"
#include "runtime/device.h"
#include "runtime/events/scope.h"

namespace show {

using namespace reckon;

// A device and its books. The ledger hears everything from the first byte.
struct Bench {
  explicit Bench(DeviceKind kind = DeviceKind::cpu)
      : device(std::make_unique<Device>(kind, DeviceSpec::this_machine())) {
    device->add_sink(&ledger);
  }
  profiler::Ledger ledger;
  std::unique_ptr<Device> device;
};

inline Tensor random(Device& d, const Shape& shape, Category category, std::string_view label,
                     double spread = 1.0) {
  Tensor t = Tensor::empty(d, shape, DType::f32, category, label);
  ops::fill_random(t, ops::Distribution::normal, 0, spread, /*seed=*/1,
                   /*stream=*/static_cast<uint64_t>(t.storage()->id()));
  return t;
}

inline Tensor parameter(Device& d, const Shape& shape, std::string_view label) {
  Tensor t = random(d, shape, Category::parameter, label, 0.05);
  autograd::set_requires_grad(t);
  return t;
}

inline std::string bytes(int64_t n) { return format_bytes(static_cast<double>(n)); }

}  // namespace show
