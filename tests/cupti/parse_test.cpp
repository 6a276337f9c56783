// Activity buffers made by hand from CUPTI's own structures, read back as plain records.
#include "gpu/cupti/parse.h"

#include <gtest/gtest.h>

#include <cstring>

#include "gpu/cupti/cupti_library.h"
#include "profiler/device_join.h"

namespace reckon::testing {
namespace {

using namespace profiler;
using profiler::cupti::Parser;

size_t size_of(CUpti_ActivityKind kind) {
  switch (kind) {
    case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL:
      return sizeof(CUpti_ActivityKernel10);
    case CUPTI_ACTIVITY_KIND_MEMCPY:
      return sizeof(CUpti_ActivityMemcpy6);
    case CUPTI_ACTIVITY_KIND_MEMCPY2:
      return sizeof(CUpti_ActivityMemcpyPtoP4);
    case CUPTI_ACTIVITY_KIND_MEMSET:
      return sizeof(CUpti_ActivityMemset4);
    case CUPTI_ACTIVITY_KIND_MEMORY2:
      return sizeof(CUpti_ActivityMemory4);
    case CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION:
      return sizeof(CUpti_ActivityExternalCorrelation);
    case CUPTI_ACTIVITY_KIND_RUNTIME:
    case CUPTI_ACTIVITY_KIND_DRIVER:
      return sizeof(CUpti_ActivityAPI);
    case CUPTI_ACTIVITY_KIND_OVERHEAD:
      return sizeof(CUpti_ActivityOverhead3);
    case CUPTI_ACTIVITY_KIND_SYNCHRONIZATION:
      return sizeof(CUpti_ActivitySynchronization2);
    case CUPTI_ACTIVITY_KIND_CONTEXT:
      return sizeof(CUpti_ActivityContext3);
    default:
      return 0;
  }
}

// The walk of cuptiActivityGetNextRecord.
CUptiResult next_record(uint8_t* buffer, size_t valid, CUpti_Activity** record) {
  uint8_t* at = *record ? reinterpret_cast<uint8_t*>(*record) + size_of((*record)->kind) : buffer;
  if (at == buffer + valid) return CUPTI_ERROR_MAX_LIMIT_REACHED;
  if (at + sizeof(CUpti_Activity) > buffer + valid) return CUPTI_ERROR_INVALID_KIND;
  const size_t size = size_of(reinterpret_cast<CUpti_Activity*>(at)->kind);
  if (size == 0 || at + size > buffer + valid) return CUPTI_ERROR_INVALID_KIND;
  *record = reinterpret_cast<CUpti_Activity*>(at);
  return CUPTI_SUCCESS;
}

struct Buffer {
  alignas(8) uint8_t bytes[4096] = {};
  size_t used = 0;

  template <class Record>
  void add(const Record& r) {
    static_assert(sizeof(Record) % 8 == 0);
    std::memcpy(bytes + used, &r, sizeof(Record));
    used += sizeof(Record);
  }
  void kernel(const char* name, uint32_t correlation, uint64_t start, uint64_t end) {
    CUpti_ActivityKernel10 k{};
    k.kind = CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL;
    k.name = name;
    k.correlationId = correlation;
    k.start = start;
    k.end = end;
    k.streamId = 7;
    k.gridX = 3;
    k.gridY = 2;
    k.gridZ = 1;
    k.blockX = 256;
    k.blockY = k.blockZ = 1;
    k.registersPerThread = 40;
    k.dynamicSharedMemory = 4096;
    k.localMemoryTotal_v2 = uint64_t{1} << 33;
    k.graphId = 5;
    k.graphNodeId = 9;
    add(k);
  }
  void correlation(uint32_t correlation, uint64_t id,
                   CUpti_ExternalCorrelationKind kind = CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0) {
    CUpti_ActivityExternalCorrelation c{};
    c.kind = CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION;
    c.externalKind = kind;
    c.externalId = id;
    c.correlationId = correlation;
    add(c);
  }
  void memory(bool release, uint64_t address, uint64_t size, const char* source,
              CUpti_ActivityMemoryKind kind = CUPTI_ACTIVITY_MEMORY_KIND_DEVICE) {
    CUpti_ActivityMemory4 m{};
    m.kind = CUPTI_ACTIVITY_KIND_MEMORY2;
    m.memoryOperationType = release ? CUPTI_ACTIVITY_MEMORY_OPERATION_TYPE_RELEASE
                                    : CUPTI_ACTIVITY_MEMORY_OPERATION_TYPE_ALLOCATION;
    m.memoryKind = kind;
    m.address = address;
    m.bytes = size;
    m.timestamp = 44;
    m.source = source;
    add(m);
  }
  void others() {
    CUpti_ActivityMemcpy6 c{};
    c.kind = CUPTI_ACTIVITY_KIND_MEMCPY;
    c.copyKind = CUPTI_ACTIVITY_MEMCPY_KIND_DTOH;
    c.bytes = 1234;
    c.start = 10;
    c.end = 15;
    c.correlationId = 21;
    add(c);
    CUpti_ActivityMemcpyPtoP4 p{};
    p.kind = CUPTI_ACTIVITY_KIND_MEMCPY2;
    p.bytes = 55;
    p.correlationId = 22;
    add(p);
    CUpti_ActivityMemset4 s{};
    s.kind = CUPTI_ACTIVITY_KIND_MEMSET;
    s.bytes = 77;
    s.correlationId = 23;
    add(s);
    CUpti_ActivityAPI a{};
    a.kind = CUPTI_ACTIVITY_KIND_DRIVER;
    a.cbid = 307;
    a.start = 1;
    a.end = 2;
    a.correlationId = 24;
    a.returnValue = 2;
    add(a);
    CUpti_ActivityOverhead3 o{};
    o.kind = CUPTI_ACTIVITY_KIND_OVERHEAD;
    o.overheadKind = CUPTI_ACTIVITY_OVERHEAD_LAZY_FUNCTION_LOADING;
    o.start = 100;
    o.end = 400;
    add(o);
    CUpti_ActivitySynchronization2 sync{};
    sync.kind = CUPTI_ACTIVITY_KIND_SYNCHRONIZATION;
    add(sync);
    CUpti_ActivityContext3 context{};
    context.kind = CUPTI_ACTIVITY_KIND_CONTEXT;
    add(context);
  }
};

constexpr const char* kOwn = "_ZN6reckon3ops3gpu3addEPf";

void check_all(const Activity& a) {
  ASSERT_EQ(a.kernels.size(), 2u);
  const KernelRecord& k = a.kernels[0];
  EXPECT_EQ(a.names[static_cast<size_t>(k.name)], kOwn);
  EXPECT_EQ(a.kernels[1].name, k.name) << "one entry per name";
  EXPECT_EQ(k.correlation, 11u);
  EXPECT_EQ(k.start_ns, 100);
  EXPECT_EQ(k.end_ns, 250);
  EXPECT_EQ(k.stream, 7u);
  EXPECT_EQ(k.grid[0] * k.grid[1] * k.grid[2], 6);
  EXPECT_EQ(k.block[0], 256);
  EXPECT_EQ(k.registers, 40);
  EXPECT_EQ(k.dynamic_shared, 4096);
  EXPECT_EQ(k.local_bytes, int64_t{1} << 33);
  EXPECT_EQ(k.graph, 5u);
  EXPECT_EQ(k.graph_node, 9u);
  ASSERT_EQ(a.correlations.size(), 1u) << "ids of other tools are not ours";
  EXPECT_EQ(a.correlations[0].call, int64_t{1} << 40);
  ASSERT_EQ(a.memory.size(), 3u);
  EXPECT_FALSE(a.memory[0].release);
  EXPECT_EQ(a.memory[0].kind, DriverMemory::device);
  EXPECT_EQ(a.names[static_cast<size_t>(a.memory[0].source)], "/x/libcublasLt.so.13");
  EXPECT_TRUE(a.memory[1].release);
  EXPECT_EQ(a.names[static_cast<size_t>(a.memory[1].source)], "");
  EXPECT_EQ(a.memory[2].kind, DriverMemory::pinned);
  ASSERT_EQ(a.copies.size(), 2u);
  EXPECT_EQ(a.copies[0].kind, CopyKind::to_host);
  EXPECT_EQ(a.copies[0].bytes, 1234);
  EXPECT_EQ(a.copies[1].bytes, 55);
  ASSERT_EQ(a.sets.size(), 1u);
  EXPECT_EQ(a.sets[0].bytes, 77);
  ASSERT_EQ(a.api_calls.size(), 1u);
  EXPECT_TRUE(a.api_calls[0].driver);
  EXPECT_EQ(a.api_calls[0].result, 2);
  ASSERT_EQ(a.overheads.size(), 1u);
  EXPECT_EQ(a.overheads[0].kind, OverheadKind::function_loading);
  EXPECT_EQ(a.n_unknown, 1) << "the context record, which nobody asked for";
  EXPECT_EQ(a.n_damaged, 0);
}

TEST(CuptiParse, ReadsEveryKindThatIsAskedFor) {
  Buffer b;
  b.correlation(11, uint64_t{1} << 40);
  b.correlation(11, 5, CUPTI_EXTERNAL_CORRELATION_KIND_UNKNOWN);
  b.kernel(kOwn, 11, 100, 250);
  b.memory(false, 0x1000, 32 << 20, "/x/libcublasLt.so.13");
  b.memory(true, 0x1000, 0, nullptr);
  b.memory(false, 0x2000, 64, nullptr, CUPTI_ACTIVITY_MEMORY_KIND_PINNED);
  b.others();
  const std::string same = kOwn;
  b.kernel(same.c_str(), 12, 0, 0);
  Parser parser;
  parser.read(b.bytes, b.used, next_record);
  EXPECT_GT(parser.held_bytes(), 0);
  EXPECT_EQ(parser.n_records(), 14);
  const Activity a = parser.take();
  check_all(a);
  EXPECT_EQ(a.kernels[1].start_ns, 0) << "not collected";
  EXPECT_TRUE(parser.take().kernels.empty());
}

TEST(CuptiParse, TheLibrarysOwnWalkAgrees) {
  std::string why;
  const cupti::Library* library = cupti::open_library(&why);
  if (!library) GTEST_SKIP() << "NOT TESTED: " << why;
  Buffer b;
  b.correlation(11, 3);
  b.kernel(kOwn, 11, 100, 250);
  b.memory(false, 0x1000, 32 << 20, "/x/libcublasLt.so.13");
  b.others();
  b.kernel(kOwn, 12, 300, 310);
  Parser ours, theirs;
  ours.read(b.bytes, b.used, next_record);
  theirs.read(b.bytes, b.used, library->cuptiActivityGetNextRecord);
  EXPECT_EQ(ours.n_records(), theirs.n_records());
  const Activity a = ours.take(), t = theirs.take();
  ASSERT_EQ(t.kernels.size(), 2u);
  EXPECT_EQ(t.kernels[1].start_ns, a.kernels[1].start_ns);
  EXPECT_EQ(t.kernels[1].correlation, 12u);
  EXPECT_EQ(t.memory.size(), a.memory.size());
  EXPECT_EQ(t.copies.size(), a.copies.size());
  EXPECT_EQ(t.n_damaged, 0);
}

TEST(CuptiParse, ACutBufferKeepsWhatCameBeforeAndSaysSo) {
  Buffer b;
  b.kernel(kOwn, 1, 10, 20);
  b.kernel(kOwn, 2, 30, 40);
  for (size_t cut : {size_t{1}, size_t{8}, sizeof(CUpti_ActivityKernel10) - 8}) {
    Parser parser;
    parser.read(b.bytes, b.used - cut, next_record);
    const Activity a = parser.take();
    EXPECT_EQ(a.kernels.size(), 1u);
    EXPECT_EQ(a.n_damaged, 1);
    EXPECT_FALSE(join(a, {}, 0).complete());
  }
  Parser parser;
  parser.read(b.bytes, 0, next_record);
  parser.read(nullptr, 100, next_record);
  EXPECT_EQ(parser.take().n_damaged, 0) << "an empty buffer is no damage";
}

TEST(CuptiParse, RecordsOfSeveralBuffersJoinAcrossThem) {
  Buffer kernels, correlations;
  kernels.kernel(kOwn, 31, 5, 9);
  correlations.correlation(31, 8);
  Parser parser;
  parser.read(kernels.bytes, kernels.used, next_record);
  parser.read(correlations.bytes, correlations.used, next_record);
  const CallRow call{8, intern("add"), intern("block"), Phase::forward, {1, 0, 0, 0}};
  const DeviceStep s = join(parser.take(), {&call, 1}, 2);
  ASSERT_EQ(s.cells.size(), 1u);
  EXPECT_EQ(s.cells[0].own_kernels, 1);
  EXPECT_EQ(s.cells[0].device_ns, 4);
  EXPECT_EQ(s.calls_that_differ(), 0);
}

}  // namespace
}  // namespace reckon::testing
