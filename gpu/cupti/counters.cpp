#include "gpu/cupti/counters.h"

#include <cuda_runtime.h>
#include <fmt/format.h>

#include "profiler/device_status.h"

namespace reckon::profiler::cupti {
namespace {

constexpr std::string_view kDoing = "reading the hardware's counters";

// Parameter structures of CUPTI: all zero but for their size.
#define RECKON_PARAMS(type, name) \
  type name{};                    \
  name.structSize = type##_STRUCT_SIZE

std::vector<const char*> pointers(const std::vector<std::string>& names) {
  std::vector<const char*> out;
  for (const std::string& n : names) out.push_back(n.c_str());
  return out;
}

constexpr unsigned kEntryPointVersion = 12000;  // CUDA 12.0

// The plugin does not link the driver's library: whatever is needed of it comes through the runtime's.
CUcontext current_context() {
  void* address = nullptr;
  cudaDriverEntryPointQueryResult found{};
  if (cudaGetDriverEntryPointByVersion("cuCtxGetCurrent", &address, kEntryPointVersion, cudaEnableDefault,
                                       &found) != cudaSuccess ||
      !address)
    return nullptr;
  CUcontext context = nullptr;
  reinterpret_cast<CUresult (*)(CUcontext*)>(address)(&context);
  return context;
}

// What of a device's configuration stands in the way.
std::string obstacle(const CUpti_Profiler_DeviceSupported_Params& p) {
  const auto bad = [](CUpti_Profiler_Support_Level level) {
    return level == CUPTI_PROFILER_CONFIGURATION_UNSUPPORTED || level == CUPTI_PROFILER_CONFIGURATION_DISABLED;
  };
  if (bad(p.architecture))
    return fmt::format("{} is not possible: counters need compute capability 7.0 or later", kDoing);
  if (p.vGpu == CUPTI_PROFILER_CONFIGURATION_DISABLED)
    return explain(CUPTI_ERROR_VIRTUALIZED_DEVICE_INSUFFICIENT_PRIVILEGES, kDoing);
  if (bad(p.vGpu)) return explain(CUPTI_ERROR_VIRTUALIZED_DEVICE_NOT_SUPPORTED, kDoing);
  if (bad(p.confidentialCompute)) return explain(CUPTI_ERROR_CONFIDENTIAL_COMPUTING_NOT_SUPPORTED, kDoing);
  if (bad(p.cmp)) return explain(CUPTI_ERROR_CMP_DEVICE_NOT_SUPPORTED, kDoing);
  if (bad(p.sli)) return explain(CUPTI_ERROR_SLI_DEVICE_NOT_SUPPORTED, kDoing);
  if (bad(p.wsl)) return explain(CUPTI_ERROR_WSL_DEVICE_NOT_SUPPORTED, kDoing);
  return explain(CUPTI_ERROR_NOT_SUPPORTED, kDoing);
}

bool fine(CUptiResult result, std::string* why) {
  if (result == CUPTI_SUCCESS) return true;
  *why = explain(result, kDoing);
  return false;
}

}  // namespace

std::vector<std::string> supported_chips(const Library& library) {
  RECKON_PARAMS(CUpti_Profiler_Host_GetSupportedChips_Params, p);
  if (library.cuptiProfilerHostGetSupportedChips(&p) != CUPTI_SUCCESS) return {};
  return {p.ppChipNames, p.ppChipNames + p.numChips};
}

std::unique_ptr<ChipMetrics> ChipMetrics::open(const Library& library, const std::string& chip,
                                               std::span<const uint8_t> availability, std::string* why) {
  RECKON_PARAMS(CUpti_Profiler_Host_Initialize_Params, p);
  p.profilerType = CUPTI_PROFILER_TYPE_RANGE_PROFILER;
  p.pChipName = chip.c_str();
  p.pCounterAvailabilityImage = availability.empty() ? nullptr : availability.data();
  if (!fine(library.cuptiProfilerHostInitialize(&p), why)) return nullptr;
  return std::unique_ptr<ChipMetrics>(new ChipMetrics(library, p.pHostObject));
}

ChipMetrics::~ChipMetrics() {
  RECKON_PARAMS(CUpti_Profiler_Host_Deinitialize_Params, p);
  p.pHostObject = object_;
  library_.cuptiProfilerHostDeinitialize(&p);
}

std::vector<std::string> ChipMetrics::counters() const {
  RECKON_PARAMS(CUpti_Profiler_Host_GetBaseMetrics_Params, p);
  p.pHostObject = object_;
  p.metricType = CUPTI_METRIC_TYPE_COUNTER;
  if (library_.cuptiProfilerHostGetBaseMetrics(&p) != CUPTI_SUCCESS) return {};
  return {p.ppMetricNames, p.ppMetricNames + p.numMetrics};
}

bool ChipMetrics::configure(std::vector<std::string> metrics, std::string* why) {
  metrics_ = std::move(metrics);
  std::vector<const char*> names = pointers(metrics_);
  RECKON_PARAMS(CUpti_Profiler_Host_ConfigAddMetrics_Params, add);
  add.pHostObject = object_;
  add.ppMetricNames = names.data();
  add.numMetrics = names.size();
  if (const CUptiResult result = library_.cuptiProfilerHostConfigAddMetrics(&add); result != CUPTI_SUCCESS) {
    // A name the chip does not have gives INVALID_PARAMETER.
    *why = fmt::format("{} (metrics: {})", explain(result, kDoing), fmt::join(metrics_, ", "));
    return false;
  }
  RECKON_PARAMS(CUpti_Profiler_Host_GetConfigImageSize_Params, size);
  size.pHostObject = object_;
  if (!fine(library_.cuptiProfilerHostGetConfigImageSize(&size), why)) return false;
  config_.resize(size.configImageSize);
  RECKON_PARAMS(CUpti_Profiler_Host_GetConfigImage_Params, image);
  image.pHostObject = object_;
  image.configImageSize = config_.size();
  image.pConfigImage = config_.data();
  if (!fine(library_.cuptiProfilerHostGetConfigImage(&image), why)) return false;
  RECKON_PARAMS(CUpti_Profiler_Host_GetNumOfPasses_Params, passes);
  passes.configImageSize = config_.size();
  passes.pConfigImage = config_.data();
  if (!fine(library_.cuptiProfilerHostGetNumOfPasses(&passes), why)) return false;
  n_passes_ = static_cast<int>(passes.numOfPasses);
  return true;
}

std::vector<double> ChipMetrics::evaluate(std::span<const uint8_t> counters, size_t range) const {
  std::vector<const char*> names = pointers(metrics_);
  std::vector<double> values(metrics_.size());
  RECKON_PARAMS(CUpti_Profiler_Host_EvaluateToGpuValues_Params, p);
  p.pHostObject = object_;
  p.pCounterDataImage = counters.data();
  p.counterDataImageSize = counters.size();
  p.rangeIndex = range;
  p.ppMetricNames = names.data();
  p.numMetrics = names.size();
  p.pMetricValues = values.data();
  if (library_.cuptiProfilerHostEvaluateToGpuValues(&p) != CUPTI_SUCCESS) return {};
  return values;
}

std::unique_ptr<RangeCounters> RangeCounters::open(const Library& library, int device, std::string_view dtype,
                                                   std::string* why) {
  RECKON_PARAMS(CUpti_Profiler_Initialize_Params, initialize);
  if (!fine(library.cuptiProfilerInitialize(&initialize), why)) return nullptr;
  RECKON_PARAMS(CUpti_Profiler_DeviceSupported_Params, supported);
  supported.cuDevice = device;
  supported.api = CUPTI_PROFILER_RANGE_PROFILING;
  if (!fine(library.cuptiProfilerDeviceSupported(&supported), why)) return nullptr;
  if (supported.isSupported != CUPTI_PROFILER_CONFIGURATION_SUPPORTED) {
    *why = obstacle(supported);
    return nullptr;
  }
  RECKON_PARAMS(CUpti_Device_GetChipName_Params, chip);
  chip.deviceIndex = static_cast<size_t>(device);
  if (!fine(library.cuptiDeviceGetChipName(&chip), why)) return nullptr;
  RECKON_PARAMS(CUpti_Profiler_GetCounterAvailability_Params, availability);
  availability.ctx = current_context();
  if (!fine(library.cuptiProfilerGetCounterAvailability(&availability), why)) return nullptr;
  std::vector<uint8_t> image(availability.counterAvailabilityImageSize);
  availability.pCounterAvailabilityImage = image.data();
  if (!fine(library.cuptiProfilerGetCounterAvailability(&availability), why)) return nullptr;
  auto host = ChipMetrics::open(library, chip.pChipName, image, why);
  if (!host) return nullptr;
  const std::vector<std::string> available = host->counters();
  if (!host->configure(choose_metrics(available, dtype).names(), why)) return nullptr;
  return std::unique_ptr<RangeCounters>(new RangeCounters(library, chip.pChipName, std::move(host)));
}

RangeCounters::~RangeCounters() {
  if (object_) {
    RECKON_PARAMS(CUpti_RangeProfiler_Disable_Params, disable);
    disable.pRangeProfilerObject = object_;
    library_.cuptiRangeProfilerDisable(&disable);
  }
  RECKON_PARAMS(CUpti_Profiler_DeInitialize_Params, deinitialize);
  library_.cuptiProfilerDeInitialize(&deinitialize);
}

bool RangeCounters::enable(int64_t n_ranges, std::string* why) {
  RECKON_PARAMS(CUpti_RangeProfiler_Enable_Params, enable);
  enable.ctx = current_context();
  if (!fine(library_.cuptiRangeProfilerEnable(&enable), why)) return false;
  object_ = enable.pRangeProfilerObject;
  std::vector<const char*> names = pointers(host_->metrics());
  RECKON_PARAMS(CUpti_RangeProfiler_GetCounterDataSize_Params, size);
  size.pRangeProfilerObject = object_;
  size.pMetricNames = names.data();
  size.numMetrics = names.size();
  size.maxNumOfRanges = static_cast<size_t>(n_ranges);
  size.maxNumRangeTreeNodes = static_cast<uint32_t>(n_ranges);
  if (!fine(library_.cuptiRangeProfilerGetCounterDataSize(&size), why)) return false;
  counters_.assign(size.counterDataSize, 0);
  RECKON_PARAMS(CUpti_RangeProfiler_CounterDataImage_Initialize_Params, image);
  image.pRangeProfilerObject = object_;
  image.counterDataSize = counters_.size();
  image.pCounterData = counters_.data();
  if (!fine(library_.cuptiRangeProfilerCounterDataImageInitialize(&image), why)) return false;
  RECKON_PARAMS(CUpti_RangeProfiler_SetConfig_Params, config);
  config.pRangeProfilerObject = object_;
  config.configSize = host_->config_image().size();
  config.pConfig = host_->config_image().data();
  config.counterDataImageSize = counters_.size();
  config.pCounterDataImage = counters_.data();
  // The runtime repeats the work itself: nothing of the device's memory is saved and restored by the tool.
  config.range = CUPTI_UserRange;
  config.replayMode = CUPTI_UserReplay;
  config.maxRangesPerPass = static_cast<size_t>(n_ranges);
  config.numNestingLevels = 1;
  config.minNestingLevel = 1;
  config.passIndex = 0;
  config.targetNestingLevel = 1;
  return fine(library_.cuptiRangeProfilerSetConfig(&config), why);
}

bool RangeCounters::begin_pass(int64_t n_ranges, std::string* why) {
  if (!object_ && !enable(n_ranges, why)) return false;
  RECKON_PARAMS(CUpti_RangeProfiler_Start_Params, p);
  p.pRangeProfilerObject = object_;
  if (!fine(library_.cuptiRangeProfilerStart(&p), why)) return false;
  in_pass_ = true;
  n_marked_ = 0;
  return true;
}

bool RangeCounters::end_pass(std::string* why) {
  end_op();
  in_pass_ = false;
  RECKON_PARAMS(CUpti_RangeProfiler_Stop_Params, p);
  p.pRangeProfilerObject = object_;
  if (!fine(library_.cuptiRangeProfilerStop(&p), why)) return false;
  complete_ = p.isAllPassSubmitted != 0;
  return fine(first_failure_, why);
}

void RangeCounters::begin_op(std::string_view op, std::string_view module, std::string_view phase) {
  // Numbered, so that passes are matched call by call.
  const std::string name = fmt::format("{}/{}", ++n_marked_, range_name(module, op, phase));
  RECKON_PARAMS(CUpti_RangeProfiler_PushRange_Params, p);
  p.pRangeProfilerObject = object_;
  p.pRangeName = name.c_str();
  const CUptiResult result = library_.cuptiRangeProfilerPushRange(&p);
  range_open_ = result == CUPTI_SUCCESS;
  if (!range_open_ && first_failure_ == CUPTI_SUCCESS) first_failure_ = result;
}

void RangeCounters::end_op() {
  if (!range_open_) return;
  range_open_ = false;
  RECKON_PARAMS(CUpti_RangeProfiler_PopRange_Params, p);
  p.pRangeProfilerObject = object_;
  if (const CUptiResult result = library_.cuptiRangeProfilerPopRange(&p);
      result != CUPTI_SUCCESS && first_failure_ == CUPTI_SUCCESS)
    first_failure_ = result;
}

std::vector<RangeValues> RangeCounters::read(int64_t* n_dropped, std::string* why) {
  std::vector<RangeValues> out;
  RECKON_PARAMS(CUpti_RangeProfiler_DecodeData_Params, decode);
  decode.pRangeProfilerObject = object_;
  if (!fine(library_.cuptiRangeProfilerDecodeData(&decode), why)) return out;
  *n_dropped = static_cast<int64_t>(decode.numOfRangeDropped);
  RECKON_PARAMS(CUpti_RangeProfiler_GetCounterDataInfo_Params, info);
  info.pCounterDataImage = counters_.data();
  info.counterDataImageSize = counters_.size();
  if (!fine(library_.cuptiRangeProfilerGetCounterDataInfo(&info), why)) return out;
  for (size_t i = 0; i < info.numTotalRanges; ++i) {
    RECKON_PARAMS(CUpti_RangeProfiler_CounterData_GetRangeInfo_Params, range);
    range.pCounterDataImage = counters_.data();
    range.counterDataImageSize = counters_.size();
    range.rangeIndex = i;
    range.rangeDelimiter = "/";
    if (!fine(library_.cuptiRangeProfilerCounterDataGetRangeInfo(&range), why)) return out;
    std::vector<double> values = host_->evaluate(counters_, i);
    if (values.empty()) {
      *why = fmt::format("{} is not possible: the values of range {} cannot be evaluated", kDoing,
                         range.rangeName);
      return out;
    }
    out.push_back({range.rangeName, std::move(values)});
  }
  return out;
}

}  // namespace reckon::profiler::cupti
