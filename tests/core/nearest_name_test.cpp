// Which name a mistyped one was meant to be.
#include <gtest/gtest.h>

#include "runtime/core/nearest_name.h"

namespace reckon {
namespace {

const std::vector<std::string> kPolicies{"none", "selective", "sublayer", "block"};

TEST(NearestName, FindsOneMissingOneWrongAndTwoSwappedLetters) {
  EXPECT_EQ(nearest_name("selectve", kPolicies), "selective");
  EXPECT_EQ(nearest_name("blick", kPolicies), "block");
  EXPECT_EQ(nearest_name("bolck", kPolicies), "block");
  EXPECT_EQ(nearest_name("sublayers", kPolicies), "sublayer");
}

TEST(NearestName, SuggestsNothingForWhatIsFarFromEverything) {
  EXPECT_EQ(nearest_name("everything", kPolicies), "");
  EXPECT_EQ(nearest_name("x", kPolicies), "");
  EXPECT_EQ(nearest_name("", kPolicies), "");
  EXPECT_EQ(did_you_mean("everything", kPolicies), "");
}

TEST(NearestName, TakesTheNearestAndOfEquallyNearTheFirst) {
  EXPECT_EQ(nearest_name("qwen2.5-7", {"qwen2.5-72b", "qwen2.5-7b"}), "qwen2.5-7b");
  EXPECT_EQ(nearest_name("bat", {"bath", "bats"}), "bath");
  EXPECT_EQ(did_you_mean("blok", kPolicies), " Did you mean 'block'?");
}

}  // namespace
}  // namespace reckon
