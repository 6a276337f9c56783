// The emulated GPU for the differential tester.
#include "simt/backend.h"
#include "tests/differential/machine.h"

namespace reckon::differential {
namespace {

const bool registered = [] {
  gpu_under_test() = {.spec = simt::spec, .make = [](const DeviceSpec& spec) {
                        return std::make_unique<Device>(DeviceKind::cuda, spec, DeviceOptions{},
                                                        simt::make_backend());
                      }};
  return true;
}();

}  // namespace
}  // namespace reckon::differential
