// The golden cases of public code (tests/reference), computed by the GPU's plans and kernels: outputs and
// gradients within the tolerances that hold for the CPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "parity/cases.h"
#include "tests/gpu/gpu_device.h"

namespace reckon::parity {
namespace {

namespace fs = std::filesystem;

struct Setting {
  DType dtype;
  std::string_view fuse;
};

struct GpuParity : ::testing::TestWithParam<Setting> {};

TEST_P(GpuParity, AgreesWithPublicCode) {
  Settings settings{.dtype = GetParam().dtype,
                    .device = DeviceKind::cuda,
                    .fuse = autograd::FusionSet::parse(std::string(GetParam().fuse)),
                    .open_device = [] { return testing::make_gpu(); }};
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(RECKON_TEST_DATA) / "reference"))
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  int cases = 0;
  for (const fs::path& file : files) {
    const Report r = run_file(file, settings);
    if (!r.not_a_case.empty()) continue;
    ++cases;
    EXPECT_TRUE(r.problems.empty()) << file.stem() << ": " << (r.problems.empty() ? "" : r.problems[0]);
    for (const Check& c : r.checks)
      EXPECT_TRUE(c.passed()) << file.stem() << " " << c.tensor << ": " << c.error << " of " << c.tolerance;
  }
  EXPECT_GE(cases, 80);
}

INSTANTIATE_TEST_SUITE_P(All, GpuParity,
                         ::testing::Values(Setting{DType::f32, "none"}, Setting{DType::bf16, "none"},
                                           Setting{DType::f32, "all"}),
                         [](const auto& p) {
                           return fmt::format("{}_{}", reckon::name_of(p.param.dtype),
                                              p.param.fuse == "none" ? "plain" : "fused");
                         });

}  // namespace
}  // namespace reckon::parity
