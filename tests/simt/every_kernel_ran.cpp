// With RECKON_EVERY_KERNEL in the environment the program fails unless the tests it ran took the kernels of
// every op: a filter for a sanitizer must not leave one out.
#include <gtest/gtest.h>

#include <cstdlib>

#include <fmt/ranges.h>

#include "simt/backend.h"

namespace {

class EveryKernelRan : public ::testing::Environment {
 public:
  void TearDown() override {
    if (!std::getenv("RECKON_EVERY_KERNEL")) return;
    EXPECT_EQ(fmt::format("{}", fmt::join(simt::kernels_never_run(), ", ")), "");
  }
};

[[maybe_unused]] const ::testing::Environment* const registered =
    ::testing::AddGlobalTestEnvironment(new EveryKernelRan);

}  // namespace
