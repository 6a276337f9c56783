// config.json of a checkpoint: damaged files are refused with a reason.
#include <gtest/gtest.h>

#include "models/qwen/config.h"
#include "runtime/core/error.h"

namespace reckon::testing {
namespace {

std::string message_of(const std::string& fields) {
  try {
    models::QwenConfig::from_json_text(
        "{" + fields + R"("vocab_size": 257, "num_hidden_layers": 2, "intermediate_size": 48})", "config.json");
  } catch (const Error& e) {
    return e.what();
  }
  return "(accepted)";
}

TEST(QwenConfigText, WrongTypesAreErrorsThatNameTheField) {
  const std::string sizes = R"("hidden_size": 32, "num_attention_heads": 4, )";
  EXPECT_EQ(message_of(sizes), "(accepted)");
  EXPECT_NE(message_of(sizes + R"("model_type": 7, )").find("'model_type' must be a text, got 7"),
            std::string::npos);
  EXPECT_NE(message_of(sizes + R"("model_type": null, )").find("'model_type'"), std::string::npos);
  EXPECT_NE(message_of(R"("hidden_size": 18446744073709551615, )").find("below 2^63"), std::string::npos);
}

TEST(QwenConfigText, SizesWhoseParametersDoNotFitAreRefused) {
  EXPECT_NE(
      message_of(R"("hidden_size": 4294967296, "num_attention_heads": 4294967296, "head_dim": 4294967296, )")
          .find("more than 2^60"),
      std::string::npos);
}

TEST(QwenConfigText, DeeplyNestedValuesAreNamedWithoutFollowingThem) {
  const std::string deep = std::string(300'000, '[') + std::string(300'000, ']');
  EXPECT_NE(message_of(R"("hidden_size": )" + deep + ", ").find("'hidden_size' must be an integer"),
            std::string::npos);
}

}  // namespace
}  // namespace reckon::testing
