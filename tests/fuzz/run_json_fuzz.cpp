// run.json: an accepted run survives being written and read again.
#include "profiler/json.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace reckon;
  fuzz::accepts([&] {
    const auto run = profiler::run_from_json(fuzz::text_of(data, size), "input");
    const std::string text = profiler::to_json(run);
    fuzz::require(profiler::to_json(profiler::run_from_json(text, "input")) == text,
                  "writing keeps everything");
  });
  return 0;
}
