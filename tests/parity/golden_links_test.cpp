// The golden files that references name (ops/reference.h) as their values from outside:
// each passes, and calls the op.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>

#include "ops/reference.h"
#include "parity/cases.h"
#include "runtime/device.h"

namespace reckon::parity {
namespace {

struct CalledOps : EventSink {
  std::set<std::string, std::less<>> names;
  void on(const Event& e) override {
    if (e.kind == EventKind::op_begin) names.emplace(name_of(e.op));
  }
};

// Runs a file in f64 with composed ops and with fused ones.
struct GoldenRun {
  bool passed = true;
  CalledOps called;

  explicit GoldenRun(const std::string& file) {
    for (const char* fuse : {"none", "all"}) {
      Settings settings{.fuse = autograd::FusionSet::parse(fuse)};
      settings.open_device = [this] {
        auto device = std::make_unique<Device>(DeviceKind::cpu, DeviceSpec::this_machine());
        device->add_sink(&called);
        return device;
      };
      passed =
          passed && run_file(std::filesystem::path(RECKON_TEST_DATA) / "reference" / file, settings).passed();
    }
  }
};

TEST(References, GoldenFilesTheyNamePassAndCallTheOp) {
  std::map<std::string, GoldenRun> runs;
  for (const ops::OpReference& r : ops::all_references())
    for (const char* file : r.golden) {
      const GoldenRun& run = runs.try_emplace(file, file).first->second;
      EXPECT_TRUE(run.passed) << file << ", named by " << r.op;
      EXPECT_TRUE(run.called.names.contains(r.op)) << r.op << " is not called by " << file << ", only "
                                                   << fmt::format("{}", fmt::join(run.called.names, ", "));
    }
}

}  // namespace
}  // namespace reckon::parity
