// What the emulator computes, and which planted faults it reports: alone, under
// AddressSanitizer, under ThreadSanitizer.
#include "simt/machine.h"

#include <gtest/gtest.h>

#include <numeric>

#include "ops/kernel/gpu/device.cuh"
#include "ops/kernel/gpu/mma.cuh"
#include "ops/kernel/gpu/reduce.cuh"

namespace reckon::testing {
namespace {

using ops::gpu::block_sum;
using ops::gpu::mma_m16n8k16;
using ops::gpu::pack_pair;

std::string failure_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const simt::Failure& f) {
    return f.what();
  }
  return "";
}

// ---- what works ---------------------------------------------------------------------------------------------

__global__ void add_one(int* x, int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) x[i] += 1;
}

TEST(SimtMachine, RunsEveryThreadOnce) {
  std::vector<int> x(1000, 0);
  simt::launch(add_one, 8, 128, 0, x.data(), 1000);
  EXPECT_EQ(x, std::vector<int>(1000, 1));
}

__global__ void sum_of_block(const float* x, float* out) {
  __shared__ float cells[32];
  const float s = block_sum(x[blockIdx.x * blockDim.x + threadIdx.x], cells);
  if (threadIdx.x == 0) out[blockIdx.x] = s;
}

TEST(SimtMachine, SumsABlock) {
  std::vector<float> x(4 * 160), out(4);
  std::iota(x.begin(), x.end(), 1.0f);
  simt::launch(sum_of_block, 4, 160, 0, x.data(), out.data());
  for (int b = 0; b < 4; ++b)
    EXPECT_EQ(out[b], std::accumulate(x.begin() + b * 160, x.begin() + (b + 1) * 160, 0.0f));
}

__global__ void where_am_i(uint3* out) {
  const unsigned t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned b = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  out[b * blockDim.x * blockDim.y * blockDim.z + t] = threadIdx;
}

TEST(SimtMachine, NumbersThreadsAsCudaDoes) {
  std::vector<uint3> out(2 * 2 * 24);
  simt::launch(where_am_i, dim3(2, 2), dim3(2, 3, 4), 0, out.data());
  EXPECT_EQ(out[24 + 7].x, 1u);
  EXPECT_EQ(out[24 + 7].y, 0u);
  EXPECT_EQ(out[24 + 7].z, 1u);
}

__global__ void product(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c) {  // 16 x 16 times 16 x 8
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  unsigned ra[4], rb[2];
  for (int r = 0; r < 4; ++r) {
    const __nv_bfloat16* p = a + (g + r % 2 * 8) * 16 + t * 2 + r / 2 * 8;
    ra[r] = pack_pair<__nv_bfloat16>(__bfloat162float(p[0]), __bfloat162float(p[1]));
  }
  for (int r = 0; r < 2; ++r) {
    const int k = t * 2 + r * 8;
    rb[r] = pack_pair<__nv_bfloat16>(__bfloat162float(b[k * 8 + g]), __bfloat162float(b[(k + 1) * 8 + g]));
  }
  float d[4] = {1, 1, 1, 1};
  mma_m16n8k16<__nv_bfloat16>(d, ra, rb);
  for (int e = 0; e < 4; ++e) c[(g + e / 2 * 8) * 8 + t * 2 + e % 2] = d[e];
}

TEST(SimtMachine, MultipliesFragmentsInTheDocumentedLayout) {
  std::vector<__nv_bfloat16> a(256), b(128);
  for (int i = 0; i < 256; ++i) a[i] = __float2bfloat16(static_cast<float>(i % 13 - 6));
  for (int i = 0; i < 128; ++i) b[i] = __float2bfloat16(static_cast<float>(i % 11 - 5));
  std::vector<float> c(128);
  simt::launch(product, 1, 32, 0, a.data(), b.data(), c.data());
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j) {
      float expected = 1;
      for (int k = 0; k < 16; ++k) expected += __bfloat162float(a[i * 16 + k]) * __bfloat162float(b[k * 8 + j]);
      EXPECT_EQ(c[i * 8 + j], expected) << i << ", " << j;
    }
}

__global__ void fill_shared(float* out, int wrong) {
  RECKON_DYNAMIC_SHARED(float, s);
  if (static_cast<int>(threadIdx.x) < 64 - wrong) s[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = s[threadIdx.x];
}

TEST(SimtMachine, SharedMemoryThatNobodyWroteIsNaN) {
  std::vector<float> out(64);
  simt::launch(fill_shared, 1, 64, 64 * sizeof(float), out.data(), 3);
  EXPECT_EQ(out[60], 1);
  EXPECT_TRUE(std::isnan(out[61]));
}

TEST(SimtMachine, CountsWhatRan) {
  const simt::Counters before = simt::Machine::get().counters();
  std::vector<float> out(64);
  simt::launch(fill_shared, 3, 64, 512, out.data(), 0);
  const simt::Counters after = simt::Machine::get().counters();
  EXPECT_EQ(after.launches - before.launches, 1);
  EXPECT_EQ(after.blocks - before.blocks, 3);
  EXPECT_EQ(after.threads - before.threads, 192);
  EXPECT_EQ(after.barriers - before.barriers, 3);
}

// ---- faults that the machine itself reports -----------------------------------------------------------------

__global__ void barrier_in_branches(float* out) {
  if (threadIdx.x < 32) {
    out[threadIdx.x] = 1;
    __syncthreads();
  } else {
    __syncthreads();
  }
}

TEST(SimtMachine, ReportsADivergentBarrier) {
  std::vector<float> out(64);
  EXPECT_NE(
      failure_of([&] { simt::launch(barrier_in_branches, 1, 64, 0, out.data()); }).find("divergent barrier"),
      std::string::npos);
}

__global__ void half_a_warp(float* out) {
  float v = static_cast<float>(threadIdx.x);
  if (threadIdx.x < 16) v += __shfl_xor_sync(0xffffffffu, v, 8);
  __syncthreads();
  out[threadIdx.x] = v;
}

TEST(SimtMachine, ReportsAWarpOperationThatSomeLanesMiss) {
  std::vector<float> out(32);
  const std::string text = failure_of([&] { simt::launch(half_a_warp, 1, 32, 0, out.data()); });
  EXPECT_NE(text.find("deadlock"), std::string::npos) << text;
  EXPECT_NE(text.find("arrived 0000ffff"), std::string::npos) << text;
}

__global__ void reads_a_lane_that_is_absent(float* out) {
  out[threadIdx.x] = __shfl_sync(0x0000ffffu, 1.0f, 20);
}

TEST(SimtMachine, ReportsAReadFromALaneThatTakesNoPart) {
  std::vector<float> out(16);
  EXPECT_NE(failure_of([&] {
              simt::launch(reads_a_lane_that_is_absent, 1, 16, 0, out.data());
            }).find("takes no part"),
            std::string::npos);
}

TEST(SimtMachine, RefusesWhatNoDeviceLaunches) {
  int x = 0;
  EXPECT_NE(failure_of([&] { simt::launch(add_one, 1, 1025, 0, &x, 0); }), "");
  EXPECT_NE(failure_of([&] { simt::launch(add_one, dim3(1, 65536), 1, 0, &x, 0); }), "");
  EXPECT_NE(failure_of([&] { simt::launch(add_one, 1, 1, simt::kMostSharedBytes + 1, &x, 0); }), "");
}

TEST(SimtMachine, GoesOnAfterAFailure) {
  std::vector<float> out(64);
  EXPECT_NE(failure_of([&] { simt::launch(barrier_in_branches, 1, 64, 0, out.data()); }), "");
  std::vector<int> x(100, 0);
  simt::launch(add_one, 1, 128, 0, x.data(), 100);
  EXPECT_EQ(x, std::vector<int>(100, 1));
}

// ---- faults that need a sanitizer ---------------------------------------------------------------------------

[[maybe_unused]] __global__ void overruns_static_shared(float* out) {
  __shared__ float s[48];
  s[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = s[threadIdx.x];
}

[[maybe_unused]] __global__ void overruns_global(float* out) { out[threadIdx.x] = 1; }

// No barrier between writing and reading a neighbour's cell.
[[maybe_unused]] __global__ void forgets_a_barrier(float* out) {
  __shared__ float s[64];
  s[threadIdx.x] = static_cast<float>(threadIdx.x);
  out[threadIdx.x] = s[63 - threadIdx.x];
}

// Lanes of one warp talk through shared memory with shuffles alone between: these order nothing.
[[maybe_unused]] __global__ void forgets_a_warp_barrier(float* out, bool forget) {
  __shared__ float s[32];
  s[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
  if (!forget) __syncwarp();
  __shfl_xor_sync(0xffffffffu, 1.0f, 1);
  out[threadIdx.x] = s[31 - threadIdx.x];
}

#if defined(__SANITIZE_ADDRESS__)
TEST(SimtAddressDeathTest, CatchesOverruns) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  std::vector<float> out(64), short_out(63);
  EXPECT_DEATH(simt::launch(overruns_static_shared, 1, 64, 0, out.data()),
               "global-buffer-overflow|index 48 out of bounds");  // whichever sanitizer comes first
  EXPECT_DEATH(simt::launch(fill_shared, 1, 64, 63 * sizeof(float), out.data(), 0), "heap-buffer-overflow");
  EXPECT_DEATH(simt::launch(overruns_global, 1, 64, 0, short_out.data()), "heap-buffer-overflow");
}
#elif defined(__SANITIZE_THREAD__)
TEST(SimtThreadDeathTest, CatchesRaces) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  std::vector<float> out(64);
  EXPECT_DEATH(simt::launch(forgets_a_barrier, 1, 64, 0, out.data()), "data race");
  EXPECT_DEATH(simt::launch(forgets_a_warp_barrier, 1, 32, 0, out.data(), true), "data race");
  simt::launch(forgets_a_warp_barrier, 1, 32, 0, out.data(), false);
}
#else
TEST(SimtMachine, FaultsThatOnlySanitizersSeeRunThrough) {
  // They stand here so that the plain build compiles them; what catches them is tested in the other two builds.
  std::vector<float> out(64);
  simt::launch(forgets_a_warp_barrier, 1, 32, 0, out.data(), true);
  EXPECT_EQ(out[0], 1);
}
#endif

}  // namespace
}  // namespace reckon::testing
