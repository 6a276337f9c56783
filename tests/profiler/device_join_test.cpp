// Records of a tracer, made up: what belongs to which op, and what is said when they do not fit.
#include "profiler/device_join.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <sstream>

#include "profiler/book_columns.h"
#include "profiler/device_report.h"
#include "profiler/driver_grants.h"

namespace reckon::testing {
namespace {

using namespace profiler;

constexpr const char* kOwn = "_ZN6reckon3ops3gpu12_GLOBAL__N_118layer_norm_forwardEPfS2_lf";
constexpr const char* kOwnTemplate = "_ZN6reckon3ops3gpu57_GLOBAL__N__0000_9_softmax_cu_7softmaxI6__halfEEvPT_";
constexpr const char* kLibrary = "nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_TNT";
constexpr const char* kReduce = "_ZN8cublasLt19splitKreduce_kernelILi32ELi16EEEvv";

// Op calls and what ran in them; correlations are given out one by one.
struct Story {
  Activity activity;
  std::vector<CallRow> calls;
  uint32_t next = 100;
  int64_t clock = 1000;

  int32_t name(const std::string& text) {
    const auto at = std::find(activity.names.begin(), activity.names.end(), text);
    if (at != activity.names.end()) return static_cast<int32_t>(at - activity.names.begin());
    activity.names.push_back(text);
    return static_cast<int32_t>(activity.names.size() - 1);
  }
  void call(const char* op, const char* module, Phase phase, std::array<int64_t, kLaunchKinds> announced) {
    calls.push_back({static_cast<int64_t>(calls.size()) + 41, intern(op), intern(module), phase, announced});
  }
  // An API call of the op that was opened last (or of none).
  uint32_t api(bool in_op = true) {
    if (in_op)
      activity.correlations.push_back({++next, calls.back().call});
    else
      ++next;
    return next;
  }
  void kernel(const char* what, int64_t ns, bool in_op = true) {
    activity.kernels.push_back(
        {.correlation = api(in_op), .name = name(what), .start_ns = clock, .end_ns = clock + ns});
    clock += ns + 10;
  }
  void set(int64_t ns) {
    activity.sets.push_back({.correlation = api(), .bytes = 64, .start_ns = clock, .end_ns = clock + ns});
    clock += ns;
  }
  DeviceStep joined(int64_t step = 3) const { return join(activity, calls, step); }
};

DeviceCell sum_of_cells(const DeviceStep& s) { return sum_of(TableOf<DeviceCell>::columns, s.cells); }

const DeviceCell& cell(const DeviceStep& s, const char* op, Phase phase) {
  for (const DeviceCell& c : s.cells)
    if (name_of(c.op) == op && c.phase == phase) return c;
  throw std::runtime_error("no such cell");
}

Story two_layers() {
  Story s;
  for (int layer = 0; layer < 2; ++layer) {
    s.call("layer_norm", "layers.norm", Phase::forward, {1, 0, 0, 0});
    s.kernel(kOwn, 100);
    s.call("linear", "layers.fc", Phase::forward, {1, 1, 0, 0});
    s.kernel(kLibrary, 1000);
    s.kernel(kReduce, 50);
    s.kernel(kOwnTemplate, 30);
  }
  s.call("linear", "layers.fc", Phase::backward, {0, 2, 0, 0});
  s.kernel(kLibrary, 2000);
  s.kernel(kLibrary, 2000);
  s.call("fill", "", Phase::optimizer, {0, 0, 1, 0});
  s.set(7);
  return s;
}

TEST(DeviceJoin, FilesKernelsCopiesAndSetsUnderTheOpThatAskedForThem) {
  const DeviceStep s = two_layers().joined();
  ASSERT_EQ(s.cells.size(), 4u);
  const DeviceCell& norm = cell(s, "layer_norm", Phase::forward);
  EXPECT_EQ(norm.calls, 2);
  EXPECT_EQ(norm.own_kernels, 2);
  EXPECT_EQ(norm.device_ns, 200);
  const DeviceCell& forward = cell(s, "linear", Phase::forward);
  EXPECT_EQ(forward.own_kernels, 2);
  EXPECT_EQ(forward.library_kernels, 4) << "a library's helpers count for the op that called it";
  EXPECT_EQ(forward.announced[static_cast<size_t>(LaunchKind::library)], 2);
  EXPECT_EQ(forward.announced_directly(), 2);
  EXPECT_EQ(forward.kernels.size(), 3u);
  const DeviceCell& fill = cell(s, "fill", Phase::optimizer);
  EXPECT_EQ(fill.sets, 1);
  EXPECT_EQ(fill.calls_that_differ, 0) << "the driver's set stands for an announced fill";
  EXPECT_EQ(s.calls_that_differ(), 0);
  EXPECT_TRUE(s.unfiled.empty());
  EXPECT_TRUE(s.complete());
  EXPECT_EQ(s.cells.front().device_ns, 4000) << "by device time";
  EXPECT_EQ(sum_of_cells(s).device_ns, 200 + 2160 + 4000 + 7);
  EXPECT_EQ(s.busy_ns, sum_of_cells(s).device_ns) << "nothing overlaps here";
}

TEST(DeviceJoin, DoesNotDependOnTheOrderOfRecords) {
  Story s = two_layers();
  const DeviceStep expected = s.joined();
  std::mt19937 random(5);
  for (int i = 0; i < 20; ++i) {
    std::shuffle(s.activity.kernels.begin(), s.activity.kernels.end(), random);
    std::shuffle(s.activity.correlations.begin(), s.activity.correlations.end(), random);
    EXPECT_EQ(s.joined(), expected);
  }
}

TEST(DeviceJoin, AnApiCallRecordedTwiceCountsOnce) {
  Story s = two_layers();
  const DeviceStep expected = s.joined();
  const std::vector<CorrelationRecord> again = s.activity.correlations;
  s.activity.correlations.insert(s.activity.correlations.end(), again.begin(), again.end());
  EXPECT_EQ(s.joined(), expected);
}

TEST(DeviceJoin, WorkOutsideOfOpsIsListedAndNeverSpread) {
  Story s = two_layers();
  s.kernel(kOwn, 500, /*in_op=*/false);
  s.kernel(kLibrary, 600, false);
  s.activity.copies.push_back(
      {.correlation = s.api(false), .kind = CopyKind::to_device, .bytes = 4096, .start_ns = 10, .end_ns = 20});
  s.activity.kernels.push_back({.correlation = 7, .name = s.name(kOwn), .start_ns = 1, .end_ns = 2});
  s.activity.correlations.push_back({7, 999});  // an op call nobody knows
  const DeviceStep out = s.joined();
  EXPECT_EQ(sum_of_cells(out).device_ns, sum_of_cells(two_layers().joined()).device_ns);
  ASSERT_EQ(out.unfiled.size(), 3u);
  EXPECT_EQ(out.unfiled[0].what, kLibrary);
  EXPECT_EQ(out.unfiled[1].count, 2);
  EXPECT_EQ(out.unfiled[1].device_ns, 501);
  EXPECT_EQ(out.unfiled[2].what, "copy from the host");
  EXPECT_EQ(out.unfiled[2].bytes, 4096);
  std::ostringstream text;
  write_observed_launches(text, out);
  EXPECT_NE(text.str().find("Outside of ops"), std::string::npos) << text.str();
  EXPECT_NE(text.str().find("layer_norm_forward"), std::string::npos) << text.str();
}

TEST(DeviceJoin, AMissingOrForeignKernelIsADifferenceOfItsCall) {
  Story missing = two_layers();
  std::erase_if(missing.activity.kernels, [&](const KernelRecord& k) { return k.correlation == 101; });
  DeviceStep s = missing.joined();
  EXPECT_EQ(cell(s, "layer_norm", Phase::forward).calls_that_differ, 1);
  EXPECT_EQ(s.calls_that_differ(), 1);
  std::ostringstream text;
  write_observed_launches(text, s);
  EXPECT_NE(text.str().find("DIFFERS in 1 call"), std::string::npos) << text.str();

  // One too few here and one too many there, in calls of the same cell: still two differences.
  Story moved = two_layers();
  for (CorrelationRecord& c : moved.activity.correlations)
    if (c.correlation == 101) c.call = moved.calls[2].call;
  s = moved.joined();
  EXPECT_EQ(cell(s, "layer_norm", Phase::forward).own_kernels, 2);
  EXPECT_EQ(cell(s, "layer_norm", Phase::forward).calls_that_differ, 2);

  text.str("");
  write_observed_launches(text, two_layers().joined());
  EXPECT_NE(text.str().find("every launch announced was seen"), std::string::npos) << text.str();
  EXPECT_EQ(text.str().find("DIFFERS"), std::string::npos) << text.str();
}

TEST(DeviceJoin, LaunchesAgree) {
  const auto announced = [](int64_t kernel, int64_t library, int64_t fill, int64_t copy) {
    return std::array<int64_t, kLaunchKinds>{kernel, library, fill, copy};
  };
  EXPECT_TRUE(launches_agree(announced(2, 0, 0, 0), 2, 0, 0));
  EXPECT_FALSE(launches_agree(announced(2, 0, 0, 0), 1, 0, 0));
  EXPECT_FALSE(launches_agree(announced(2, 0, 0, 0), 3, 0, 0));
  EXPECT_FALSE(launches_agree(announced(1, 0, 0, 0), 0, 1, 0)) << "a kernel is no copy";
  EXPECT_TRUE(launches_agree(announced(0, 0, 1, 0), 1, 0, 0));
  EXPECT_TRUE(launches_agree(announced(0, 0, 1, 0), 0, 0, 1));
  EXPECT_TRUE(launches_agree(announced(0, 0, 0, 1), 0, 1, 0));
  EXPECT_FALSE(launches_agree(announced(0, 0, 0, 1), 0, 0, 0));
  EXPECT_TRUE(launches_agree(announced(0, 5, 0, 0), 0, 3, 2)) << "a library may do as it likes";
  EXPECT_TRUE(launches_agree(announced(0, 5, 0, 0), 1, 0, 0)) << "what it leaves undone is a kernel of ours";
  EXPECT_FALSE(launches_agree(announced(1, 5, 0, 0), 0, 3, 0)) << "but an announced kernel must be seen";
}

TEST(DeviceJoin, ZeroTimesAreNotCollectedRatherThanZero) {
  Story s = two_layers();
  for (KernelRecord& k : s.activity.kernels)
    if (s.activity.names[static_cast<size_t>(k.name)] == kOwn) k.start_ns = k.end_ns = 0;
  const DeviceStep out = s.joined();
  const DeviceCell& norm = cell(out, "layer_norm", Phase::forward);
  EXPECT_EQ(norm.untimed, 2);
  EXPECT_EQ(norm.own_kernels, 2) << "they ran all the same";
  std::ostringstream text;
  write_observed_launches(text, out);
  EXPECT_NE(text.str().find("not collected"), std::string::npos) << text.str();
}

TEST(DeviceJoin, DroppedRecordsAndDamagedBuffersAreLoud) {
  for (auto field : {&Activity::n_dropped, &Activity::n_damaged}) {
    Story s = two_layers();
    s.activity.*field = 12;
    const DeviceStep out = s.joined();
    EXPECT_FALSE(out.complete());
    std::ostringstream text;
    write_observed_launches(text, out);
    EXPECT_NE(text.str().find("!!! NOT COMPLETE"), std::string::npos) << text.str();
    EXPECT_NE(text.str().find("12"), std::string::npos) << text.str();
  }
}

TEST(DeviceJoin, AnApiCallOfTwoOpsBelongsToNeither) {
  Story s = two_layers();
  s.activity.correlations.push_back({101, s.calls[1].call});
  const DeviceStep out = s.joined();
  EXPECT_EQ(out.n_ambiguous, 1);
  ASSERT_EQ(out.unfiled.size(), 1u);
  EXPECT_EQ(out.unfiled[0].device_ns, 100);
}

TEST(DeviceJoin, BusyTimeCountsOverlapOnce) {
  Story s;
  s.call("add", "", Phase::forward, {3, 0, 0, 0});
  for (const auto& [a, b] : {std::pair<int64_t, int64_t>{100, 200}, {150, 250}, {300, 310}})
    s.activity.kernels.push_back({.correlation = s.api(), .name = s.name(kOwn), .start_ns = a, .end_ns = b});
  EXPECT_EQ(s.joined().busy_ns, 160);
  EXPECT_EQ(sum_of_cells(s.joined()).device_ns, 210);
}

TEST(DeviceJoin, ProductsOfOneShapeAreOneEntry) {
  Story s = two_layers();
  for (size_t i : {1, 3, 4, 4}) s.activity.products.push_back({s.calls[i].call, 128, 256, 64, 2});
  s.activity.products.push_back({s.calls[4].call, 1, 2, 3, 1});
  s.activity.products.push_back({12345, 1, 2, 3, 1});  // of no call
  const DeviceStep out = s.joined();
  EXPECT_EQ(cell(out, "linear", Phase::forward).products, (std::vector<Product>{{128, 256, 64, 2, 2}}));
  EXPECT_EQ(cell(out, "linear", Phase::backward).products,
            (std::vector<Product>{{128, 256, 64, 2, 2}, {1, 2, 3, 1, 1}}));
}

TEST(DeviceJoin, KnowsOurKernelsByTheirNamespace) {
  EXPECT_TRUE(is_own_kernel(kOwn));
  EXPECT_TRUE(is_own_kernel(kOwnTemplate));
  EXPECT_TRUE(is_own_kernel("void reckon::ops::gpu::(anonymous namespace)::f<float>(float*)"));
  EXPECT_FALSE(is_own_kernel(kLibrary));
  EXPECT_FALSE(is_own_kernel(kReduce));
  EXPECT_FALSE(is_own_kernel(""));
}

TEST(DeviceJoin, KernelNamesAreShortened) {
  EXPECT_EQ(short_kernel_name(kOwn), "layer_norm_forward");
  EXPECT_EQ(short_kernel_name(kReduce), "cublasLt::splitKreduce_kernel<32, 16>");
  EXPECT_EQ(short_kernel_name(kLibrary), kLibrary);
  EXPECT_EQ(short_kernel_name("copy on the device"), "copy on the device");
  EXPECT_LE(short_kernel_name(std::string(500, 'x')).size(), 72u);
}

MemoryRecord memory(bool release, uint64_t address, int64_t bytes, int64_t t, int32_t source) {
  return {.release = release,
          .kind = DriverMemory::device,
          .source = source,
          .address = address,
          .bytes = bytes,
          .t_ns = t};
}

TEST(DriverGrants, HoldWhatWasGrantedAndNotTakenBack) {
  Activity a;
  a.names = {"", "/opt/reckon/libreckon_cuda.so", "/usr/local/cuda/lib64/libcublasLt.so.13"};
  a.memory = {memory(false, 0x1000, 2 << 20, 5, 1), memory(false, 0x2000, 32 << 20, 6, 2),
              memory(true, 0x1000, 0, 9, 1),        memory(false, 0x1000, 20 << 20, 10, 1),
              memory(true, 0x9999, 0, 11, 1),       memory(false, 0x3000, 100, 12, 0)};
  a.memory.push_back({.kind = DriverMemory::pinned, .address = 0x4000, .bytes = 1 << 30, .t_ns = 13});
  // In whatever order the buffers came.
  std::reverse(a.memory.begin(), a.memory.end());
  DriverGrants grants;
  grants.apply(a);
  const std::vector<Grant> out = grants.by_source();
  ASSERT_EQ(out.size(), 3u);
  EXPECT_EQ(out[0].source, "libcublasLt.so.13");
  EXPECT_EQ(out[0].bytes, 32 << 20);
  EXPECT_EQ(out[1].source, "libreckon_cuda.so");
  EXPECT_EQ(out[1].bytes, 20 << 20);
  EXPECT_EQ(out[2].source, "");
  EXPECT_EQ(grants.bytes(), (52 << 20) + 100);
  EXPECT_EQ(grants.n_unknown_releases(), 1);
  // Later records go on from there.
  Activity later;
  later.memory = {memory(true, 0x2000, 0, 20, 0)};
  grants.apply(later);
  EXPECT_EQ(grants.bytes(), (20 << 20) + 100);
}

}  // namespace
}  // namespace reckon::testing
