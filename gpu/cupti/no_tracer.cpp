// In place of the tracer where the plugin is built without CUPTI.
#include "runtime/device_observer.h"

namespace reckon {

std::unique_ptr<DeviceTracer> make_tracer(int, std::string* why) {
  *why = "the CUDA plugin was built without CUPTI 13 (see RECKON_CUPTI)";
  return nullptr;
}

}  // namespace reckon
