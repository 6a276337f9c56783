// What was seen of the device, in run.json. Reading checks that lists refer to what is
// there and that the closure closes.
#pragma once

#include "profiler/device_books.h"
#include "profiler/json_fields.h"

namespace reckon::profiler {

Json to_json(const DeviceBooks& books);
Json to_json(const DeviceClosure& closure);
DeviceBooks device_of(const Field& f);

}  // namespace reckon::profiler
