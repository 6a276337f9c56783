#include "gpu/cupti/tracer.h"

#include <chrono>

#include "gpu/cupti/device_use.h"
#include "profiler/device_status.h"

namespace reckon::profiler::cupti {
namespace {

constexpr std::string_view kDoing = "tracing the device";
constexpr CUpti_ExternalCorrelationKind kOurIds = CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0;

// Correlations come with the records of API calls, so those are needed too. Never KIND_KERNEL, which
// lets no two kernels run at once.
constexpr CUpti_ActivityKind kKinds[] = {
    CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION,
    CUPTI_ACTIVITY_KIND_RUNTIME,
    CUPTI_ACTIVITY_KIND_DRIVER,
    CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL,
    CUPTI_ACTIVITY_KIND_MEMCPY,
    CUPTI_ACTIVITY_KIND_MEMCPY2,
    CUPTI_ACTIVITY_KIND_MEMSET,
    CUPTI_ACTIVITY_KIND_MEMORY2,
    CUPTI_ACTIVITY_KIND_OVERHEAD,
};

// Calls that come by the thousand and launch nothing.
constexpr CUpti_CallbackId kMutedRuntime[] = {
    CUPTI_RUNTIME_TRACE_CBID_cudaGetDevice_v3020,
    CUPTI_RUNTIME_TRACE_CBID_cudaSetDevice_v3020,
    CUPTI_RUNTIME_TRACE_CBID_cudaGetLastError_v3020,
    CUPTI_RUNTIME_TRACE_CBID_cudaPeekAtLastError_v3020,
};
constexpr CUpti_CallbackId kMutedDriver[] = {
    CUPTI_DRIVER_TRACE_CBID_cuCtxGetCurrent,
    CUPTI_DRIVER_TRACE_CBID_cuKernelGetAttribute,
    CUPTI_DRIVER_TRACE_CBID_cuDevicePrimaryCtxGetState,
};

// The clock of events (Device::emit).
uint64_t CUPTIAPI ledger_clock() {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

void CUPTIAPI ignore_callback(void*, CUpti_CallbackDomain, CUpti_CallbackId, const void*) {}

}  // namespace

std::unique_ptr<Tracer> Tracer::make(const Library& library, int device, std::string* why) {
  std::unique_ptr<Tracer> tracer(new Tracer(library, device));
  if (!tracer->prepare(why)) return nullptr;
  return tracer;
}

bool Tracer::prepare(std::string* why) {
  if (const auto use = use_without_context(device_)) {
    memory_.total = use->total;
    memory_.used_before_context = use->used;
  }
  // Subscribing needs no callbacks of its own; it tells at once whether somebody else holds the place, and who.
  char rival[CUPTI_OLD_SUBSCRIBER_NAME_MIN_LEN] = {};
  CUpti_SubscriberParams params{};
  params.structSize = CUpti_SubscriberParams_STRUCT_SIZE;
  params.subscriberName = "reckon";
  params.oldSubscriberName = rival;
  params.oldSubscriberSize = sizeof(rival);
  if (const CUptiResult result = library_.cuptiSubscribe_v2(&subscriber_, ignore_callback, nullptr, &params);
      result != CUPTI_SUCCESS) {
    subscriber_ = nullptr;
    *why = explain(result, kDoing, rival);
    return false;
  }
  keep_buffers_off_the_device();
  CUptiResult result = library_.cuptiActivityRegisterTimestampCallback(ledger_clock);
  if (result == CUPTI_SUCCESS) result = ActivityBuffers::instance().attach(library_);
  if (result == CUPTI_SUCCESS) return true;
  *why = explain(result, kDoing);
  return false;
}

// By default CUPTI takes a few MB of device memory per context for itself;
// page-locked host memory serves as well.
void Tracer::keep_buffers_off_the_device() {
  uint8_t pinned = 1;
  size_t size = sizeof(pinned);
  if (library_.cuptiActivitySetAttribute(CUPTI_ACTIVITY_ATTR_MEM_ALLOCATION_TYPE_HOST_PINNED, &size, &pinned) ==
      CUPTI_SUCCESS) {
    memory_.tracer_bytes = 0;
    return;
  }
  // Refused, as under confidential computing: then what CUPTI says it takes when a context is made.
  size_t each = 0, count = 0, length = sizeof(size_t);
  if (library_.cuptiActivityGetAttribute(CUPTI_ACTIVITY_ATTR_DEVICE_BUFFER_SIZE, &length, &each) ==
          CUPTI_SUCCESS &&
      library_.cuptiActivityGetAttribute(CUPTI_ACTIVITY_ATTR_DEVICE_BUFFER_PRE_ALLOCATE_VALUE, &length,
                                         &count) == CUPTI_SUCCESS)
    memory_.tracer_bytes = static_cast<int64_t>(each * count);
}

void Tracer::mute() {
  // Failures only cost time.
  for (CUpti_CallbackId id : kMutedRuntime) library_.cuptiActivityEnableRuntimeApi(id, 0);
  for (CUpti_CallbackId id : kMutedDriver) library_.cuptiActivityEnableDriverApi(id, 0);
}

bool Tracer::start(std::string* why) {
  if (recording_) return true;
  // Says who asked for memory. Segments are few, so its price per request does not matter.
  library_.cuptiActivityEnableAllocationSource(1);
  for (CUpti_ActivityKind kind : kKinds) {
    const CUptiResult result = library_.cuptiActivityEnable(kind);
    if (result != CUPTI_SUCCESS) {
      stop();
      *why = explain(result, kDoing);
      return false;
    }
    enabled_.push_back(kind);
  }
  mute();
  recording_ = true;
  return true;
}

void Tracer::stop() {
  end_op();
  for (CUpti_ActivityKind kind : enabled_) library_.cuptiActivityDisable(kind);
  if (!enabled_.empty()) library_.cuptiActivityFlushAll(0);
  enabled_.clear();
  recording_ = false;
}

Tracer::~Tracer() {
  counters_.reset();
  stop();
  if (subscriber_) library_.cuptiUnsubscribe(subscriber_);
}

void Tracer::context_made() {
  if (const auto use = use_in_context()) {
    memory_.total = use->total;
    memory_.used_after_context = use->used;
  }
}

void Tracer::begin_op(int64_t call, std::string_view op, std::string_view module, std::string_view phase) {
  call_ = call;
  if (counters_ && counters_->in_pass())
    counters_->begin_op(op, module, phase);
  else if (recording_)
    pushed_ =
        library_.cuptiActivityPushExternalCorrelationId(kOurIds, static_cast<uint64_t>(call)) == CUPTI_SUCCESS;
}

void Tracer::end_op() {
  if (counters_ && counters_->in_pass()) counters_->end_op();
  if (pushed_) {
    uint64_t last = 0;
    library_.cuptiActivityPopExternalCorrelationId(kOurIds, &last);
  }
  pushed_ = false;
}

void Tracer::note_product(int64_t m, int64_t n, int64_t k, int64_t batch) {
  if (recording_) products_.push_back({call_, m, n, k, batch});
}

Activity Tracer::collect() {
  const auto begin = std::chrono::steady_clock::now();
  // No lock of ours is held here: the callbacks run inside.
  library_.cuptiActivityFlushAll(0);
  Activity out = ActivityBuffers::instance().take();
  out.products = std::move(products_);
  products_.clear();
  flush_ns_ +=
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - begin).count();
  return out;
}

DeviceMemory Tracer::memory() {
  DeviceMemory now = memory_;
  if (const auto use = use_in_context()) {
    now.total = use->total;
    now.used_now = use->used;
  }
  return now;
}

ObserverCost Tracer::cost() const {
  const ActivityBuffers& buffers = ActivityBuffers::instance();
  return {buffers.host_bytes(), buffers.host_ns() + flush_ns_, buffers.n_buffers(), buffers.n_records()};
}

DeviceCounters* Tracer::counters(std::string_view dtype, std::string* why) {
  if (!counters_) counters_ = RangeCounters::open(library_, device_, dtype, why);
  return counters_.get();
}

}  // namespace reckon::profiler::cupti

namespace reckon {

std::unique_ptr<DeviceTracer> make_tracer(int device, std::string* why) {
  const profiler::cupti::Library* library = profiler::cupti::open_library(why);
  if (!library) return nullptr;
  return profiler::cupti::Tracer::make(*library, device, why);
}

}  // namespace reckon
