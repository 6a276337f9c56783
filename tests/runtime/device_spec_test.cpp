// Hardware specs from JSON: what a file may say, and what is refused.
#include "runtime/device_spec.h"

#include <gtest/gtest.h>

#include "runtime/core/error.h"

namespace reckon::testing {
namespace {

std::string message_of(const std::string& text) {
  try {
    DeviceSpec::from_json_text(text, "box.json");
  } catch (const Error& e) {
    return e.what();
  }
  return "(accepted)";
}

TEST(DeviceSpecText, ReadsBackWhatItWrites) {
  DeviceSpec spec = DeviceSpec::this_machine();
  spec.memory_bytes = size_t{3} << 40;
  spec.peak_flops[DType::bf16] = 2.5e12;
  const std::string text = spec.to_json();
  EXPECT_EQ(DeviceSpec::from_json_text(text, "box.json").to_json(), text);
  EXPECT_EQ(DeviceSpec::from_json_text(R"({"memory_bytes": 4e10})", "box.json").memory_bytes, 40'000'000'000u);
}

TEST(DeviceSpecText, NumbersThatDoNotFitTheirFieldAreRefusedNotTruncated) {
  for (const char* text : {R"({"threads": 4294967297})", R"({"threads": 2.5})", R"({"threads": 1e300})",
                           R"({"isa_level": 4294967295})", R"({"memory_bytes": 1e30})",
                           R"({"small_limit": 18446744073709551615})", R"({"granularity": -1})"})
    EXPECT_NE(message_of(text).find("must be a whole number"), std::string::npos)
        << text << ": " << message_of(text);
}

TEST(DeviceSpecText, DeeplyNestedValuesAreNamedWithoutFollowingThem) {
  const std::string deep = R"({"threads": )" + std::string(300'000, '[') + std::string(300'000, ']') + "}";
  EXPECT_NE(message_of(deep).find("'threads' must be a whole number"), std::string::npos);
}

}  // namespace
}  // namespace reckon::testing
