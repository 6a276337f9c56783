// config.json of a Qwen checkpoint: an accepted one has a parameter count and
// survives being written and read again.
#include "models/qwen/config.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace reckon;
  models::QwenConfig c;
  const auto read = [&] {
    c = models::QwenConfig::from_json_text(std::string(fuzz::text_of(data, size)), "input");
  };
  if (!fuzz::accepts(read)) return 0;
  fuzz::require(c.n_parameters() > 0, "there are parameters");
  const std::string text = c.to_json();
  fuzz::require(models::QwenConfig::from_json_text(text, "input").to_json() == text,
                "writing keeps everything");
  return 0;
}
