// Hardware specs: an accepted one survives being written and read again.
#include "runtime/device_spec.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace reckon;
  DeviceSpec spec;
  if (!fuzz::accepts(
          [&] { spec = DeviceSpec::from_json_text(std::string(fuzz::text_of(data, size)), "input"); }))
    return 0;
  fuzz::require(spec.threads >= 1 && spec.isa_level >= 0 && spec.isa_level <= 3,
                "threads and isa_level are in range");
  const std::string text = spec.to_json();
  fuzz::require(DeviceSpec::from_json_text(text, "input").to_json() == text, "writing keeps everything");
  return 0;
}
