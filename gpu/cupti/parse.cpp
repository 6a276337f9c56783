#include "gpu/cupti/parse.h"

#include <utility>

namespace reckon::profiler::cupti {
namespace {

// Records lie at multiples of eight bytes, which is all that their types ask for.
template <class Record>
const Record& as(const CUpti_Activity& record) {
  static_assert(alignof(Record) <= 8);
  return reinterpret_cast<const Record&>(record);
}

int64_t ns(uint64_t t) { return static_cast<int64_t>(t); }
int64_t bytes(uint64_t n) { return static_cast<int64_t>(n); }

CopyKind kind_of(uint8_t kind) {
  switch (kind) {
    case CUPTI_ACTIVITY_MEMCPY_KIND_HTOD:
    case CUPTI_ACTIVITY_MEMCPY_KIND_HTOA:
      return CopyKind::to_device;
    case CUPTI_ACTIVITY_MEMCPY_KIND_DTOH:
    case CUPTI_ACTIVITY_MEMCPY_KIND_ATOH:
      return CopyKind::to_host;
    case CUPTI_ACTIVITY_MEMCPY_KIND_DTOD:
    case CUPTI_ACTIVITY_MEMCPY_KIND_ATOA:
    case CUPTI_ACTIVITY_MEMCPY_KIND_ATOD:
    case CUPTI_ACTIVITY_MEMCPY_KIND_DTOA:
      return CopyKind::on_device;
    default:
      return CopyKind::other;
  }
}

DriverMemory kind_of(CUpti_ActivityMemoryKind kind) {
  switch (kind) {
    case CUPTI_ACTIVITY_MEMORY_KIND_DEVICE:
    case CUPTI_ACTIVITY_MEMORY_KIND_ARRAY:
    case CUPTI_ACTIVITY_MEMORY_KIND_DEVICE_STATIC:
      return DriverMemory::device;
    case CUPTI_ACTIVITY_MEMORY_KIND_PINNED:
      return DriverMemory::pinned;
    case CUPTI_ACTIVITY_MEMORY_KIND_MANAGED:
    case CUPTI_ACTIVITY_MEMORY_KIND_MANAGED_STATIC:
      return DriverMemory::managed;
    default:
      return DriverMemory::other;
  }
}

OverheadKind kind_of(CUpti_ActivityOverheadKind kind) {
  switch (kind) {
    case CUPTI_ACTIVITY_OVERHEAD_CUPTI_BUFFER_FLUSH:
    case CUPTI_ACTIVITY_OVERHEAD_ACTIVITY_BUFFER_REQUEST:
      return OverheadKind::buffer_flush;
    case CUPTI_ACTIVITY_OVERHEAD_CUPTI_INSTRUMENTATION:
      return OverheadKind::instrumentation;
    case CUPTI_ACTIVITY_OVERHEAD_CUPTI_RESOURCE:
      return OverheadKind::resource;
    case CUPTI_ACTIVITY_OVERHEAD_RUNTIME_TRIGGERED_MODULE_LOADING:
      return OverheadKind::module_loading;
    case CUPTI_ACTIVITY_OVERHEAD_LAZY_FUNCTION_LOADING:
      return OverheadKind::function_loading;
    case CUPTI_ACTIVITY_OVERHEAD_DRIVER_COMPILER:
      return OverheadKind::compiler;
    default:
      return OverheadKind::other;
  }
}

KernelRecord kernel_of(const CUpti_ActivityKernel10& r, int32_t name) {
  return {.correlation = r.correlationId,
          .name = name,
          .start_ns = ns(r.start),
          .end_ns = ns(r.end),
          .device = r.deviceId,
          .context = r.contextId,
          .stream = r.streamId,
          .grid = {r.gridX, r.gridY, r.gridZ},
          .block = {r.blockX, r.blockY, r.blockZ},
          .registers = r.registersPerThread,
          .static_shared = r.staticSharedMemory,
          .dynamic_shared = r.dynamicSharedMemory,
          .local_bytes = bytes(r.localMemoryTotal_v2),
          .graph = r.graphId,
          .graph_node = r.graphNodeId};
}

MemoryRecord memory_of(const CUpti_ActivityMemory4& r, int32_t source) {
  return {.correlation = r.correlationId,
          .release = r.memoryOperationType == CUPTI_ACTIVITY_MEMORY_OPERATION_TYPE_RELEASE,
          .from_pool = r.isAsync != 0,
          .kind = kind_of(r.memoryKind),
          .source = source,
          .address = r.address,
          .bytes = bytes(r.bytes),
          .t_ns = ns(r.timestamp),
          .device = r.deviceId};
}

}  // namespace

int32_t Parser::name_of(const char* text) {
  if (!text) return 0;
  const auto [at, added] = names_.try_emplace(text, static_cast<int32_t>(out_.names.size()));
  if (added) out_.names.emplace_back(text);
  return at->second;
}

void Parser::read(const CUpti_Activity& record) {
  ++n_records_;
  switch (record.kind) {
    case CUPTI_ACTIVITY_KIND_KERNEL:
    case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL: {
      const auto& r = as<CUpti_ActivityKernel10>(record);
      out_.kernels.push_back(kernel_of(r, name_of(r.name)));
      break;
    }
    case CUPTI_ACTIVITY_KIND_MEMCPY: {
      const auto& r = as<CUpti_ActivityMemcpy6>(record);
      out_.copies.push_back({r.correlationId, kind_of(r.copyKind), bytes(r.bytes), ns(r.start), ns(r.end),
                             r.deviceId, r.streamId});
      break;
    }
    case CUPTI_ACTIVITY_KIND_MEMCPY2: {
      const auto& r = as<CUpti_ActivityMemcpyPtoP4>(record);
      out_.copies.push_back(
          {r.correlationId, CopyKind::other, bytes(r.bytes), ns(r.start), ns(r.end), r.deviceId, r.streamId});
      break;
    }
    case CUPTI_ACTIVITY_KIND_MEMSET: {
      const auto& r = as<CUpti_ActivityMemset4>(record);
      out_.sets.push_back({r.correlationId, bytes(r.bytes), ns(r.start), ns(r.end), r.deviceId, r.streamId});
      break;
    }
    case CUPTI_ACTIVITY_KIND_MEMORY2: {
      const auto& r = as<CUpti_ActivityMemory4>(record);
      out_.memory.push_back(memory_of(r, name_of(r.source)));
      break;
    }
    case CUPTI_ACTIVITY_KIND_RUNTIME:
    case CUPTI_ACTIVITY_KIND_DRIVER: {
      const auto& r = as<CUpti_ActivityAPI>(record);
      out_.api_calls.push_back({.correlation = r.correlationId,
                                .driver = record.kind == CUPTI_ACTIVITY_KIND_DRIVER,
                                .function = r.cbid,
                                .thread = r.threadId,
                                .result = static_cast<int32_t>(r.returnValue),
                                .start_ns = ns(r.start),
                                .end_ns = ns(r.end)});
      break;
    }
    case CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION: {
      const auto& r = as<CUpti_ActivityExternalCorrelation>(record);
      // Other tools in this process may push ids of their own kinds.
      if (r.externalKind == CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0)
        out_.correlations.push_back({r.correlationId, static_cast<int64_t>(r.externalId)});
      break;
    }
    case CUPTI_ACTIVITY_KIND_OVERHEAD: {
      const auto& r = as<CUpti_ActivityOverhead3>(record);
      out_.overheads.push_back({kind_of(r.overheadKind), ns(r.start), ns(r.end)});
      break;
    }
    case CUPTI_ACTIVITY_KIND_SYNCHRONIZATION:  // waiting is not work
      break;
    default:
      ++out_.n_unknown;
  }
}

void Parser::read(uint8_t* buffer, size_t valid_bytes, NextRecord next) {
  if (!buffer || valid_bytes == 0) return;
  CUpti_Activity* record = nullptr;
  for (;;) {
    const CUptiResult result = next(buffer, valid_bytes, &record);
    if (result == CUPTI_ERROR_MAX_LIMIT_REACHED) return;
    if (result != CUPTI_SUCCESS || !record) {
      ++out_.n_damaged;
      return;
    }
    read(*record);
  }
}

Activity Parser::take() {
  names_ = {{"", 0}};
  return std::exchange(out_, {});
}

int64_t Parser::held_bytes() const {
  const auto of = [](const auto& v) { return static_cast<int64_t>(v.capacity() * sizeof(v[0])); };
  return of(out_.names) + of(out_.kernels) + of(out_.copies) + of(out_.sets) + of(out_.memory) +
         of(out_.api_calls) + of(out_.correlations) + of(out_.overheads);
}

}  // namespace reckon::profiler::cupti
