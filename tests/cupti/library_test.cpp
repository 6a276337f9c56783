// Opening libcupti, and asking for a tracer: where something is missing there is one line that says what.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "gpu/cupti/cupti_library.h"
#include "runtime/device_observer.h"

namespace reckon::testing {
namespace {

using namespace profiler::cupti;

TEST(CuptiLibrary, IsThereOrSaysWhatIsMissing) {
  std::string why;
  const Library* library = open_library(&why);
  if (library) {
    EXPECT_GE(library->version, static_cast<uint32_t>(CUPTI_API_VERSION));
    EXPECT_TRUE(library->name().starts_with("CUPTI 13.")) << library->name();
    EXPECT_FALSE(library->file.empty());
    EXPECT_EQ(open_library(&why), library);
    return;
  }
  EXPECT_NE(why.find("libcupti"), std::string::npos) << why;
  EXPECT_EQ(why.find('\n'), std::string::npos) << why;
  std::string again;
  EXPECT_FALSE(open_library(&again));
  EXPECT_EQ(again, why);
}

TEST(CuptiLibrary, VersionsAreReadable) {
  EXPECT_EQ(version_text(130001), "13.0.1");
  EXPECT_EQ(version_text(130100), "13.1.0");
  EXPECT_EQ(version_text(28), "API 28");
}

TEST(CuptiLibrary, WithoutADriverThereIsNoTracerAndOneLineSaysWhy) {
  int n = 0;
  if (cudaGetDeviceCount(&n) == cudaSuccess && n > 0) GTEST_SKIP() << "there is a GPU";
  for (int i = 0; i < 2; ++i) {
    std::string why;
    EXPECT_FALSE(make_tracer(0, &why));
    EXPECT_FALSE(why.empty());
    EXPECT_EQ(why.find('\n'), std::string::npos) << why;
    if (!std::getenv("RECKON_CUPTI")) {
      EXPECT_NE(why.find("no driver"), std::string::npos) << why;
    }
  }
}

// On a GPU: one op call's launches come back under its number.
TEST(CuptiTracer, SeesWorkUnderTheCallThatMadeIt) {
  int n = 0;
  if (cudaGetDeviceCount(&n) != cudaSuccess || n == 0) GTEST_SKIP() << "NOT TESTED: no GPU";
  std::string why;
  const auto tracer = make_tracer(0, &why);
  ASSERT_TRUE(tracer) << why;
  ASSERT_TRUE(tracer->start(&why)) << why;
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
  tracer->context_made();
  void* p = nullptr;
  ASSERT_EQ(cudaMalloc(&p, 4 << 20), cudaSuccess);
  for (int64_t call : {41, 42}) {
    tracer->begin_op(call, "fill", "block", "forward");
    ASSERT_EQ(cudaMemsetAsync(p, 0, 4 << 20), cudaSuccess);
    tracer->end_op();
  }
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  const Activity a = tracer->collect();
  EXPECT_EQ(a.n_dropped, 0);
  ASSERT_EQ(a.sets.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    int64_t call = 0;
    for (const CorrelationRecord& c : a.correlations)
      if (c.correlation == a.sets[i].correlation) call = c.call;
    EXPECT_EQ(call, 41 + static_cast<int64_t>(i));
    EXPECT_GT(a.sets[i].end_ns, a.sets[i].start_ns);
  }
  const bool granted = [&] {
    for (const MemoryRecord& m : a.memory)
      if (!m.release && m.bytes >= 4 << 20 && m.kind == DriverMemory::device) return true;
    return false;
  }();
  EXPECT_TRUE(granted);
  const DeviceMemory memory = tracer->memory();
  EXPECT_TRUE(memory.used_now);
  EXPECT_TRUE(memory.used_after_context);
  tracer->stop();
  EXPECT_FALSE(tracer->recording());
  cudaFree(p);
}

}  // namespace
}  // namespace reckon::testing
