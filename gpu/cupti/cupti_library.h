// libcupti, opened at run time: a program that never watches its GPU must not pay for it, and one on a machine
// without the toolkit must still start. Part of the CUDA plugin.
#pragma once

#include <cupti.h>
#include <cupti_profiler_host.h>
#include <cupti_profiler_target.h>
#include <cupti_range_profiler.h>
#include <cupti_target.h>

#include <string>

// Every function this folder calls.
#define RECKON_CUPTI_FUNCTIONS(F)                 \
  F(cuptiGetVersion)                              \
  F(cuptiSubscribe_v2)                            \
  F(cuptiUnsubscribe)                             \
  F(cuptiActivityEnable)                          \
  F(cuptiActivityDisable)                         \
  F(cuptiActivityEnableDriverApi)                 \
  F(cuptiActivityEnableRuntimeApi)                \
  F(cuptiActivityEnableAllocationSource)          \
  F(cuptiActivityFlushAll)                        \
  F(cuptiActivityGetAttribute)                    \
  F(cuptiActivityGetNextRecord)                   \
  F(cuptiActivityGetNumDroppedRecords)            \
  F(cuptiActivityPopExternalCorrelationId)        \
  F(cuptiActivityPushExternalCorrelationId)       \
  F(cuptiActivityRegisterCallbacks)               \
  F(cuptiActivityRegisterTimestampCallback)       \
  F(cuptiActivitySetAttribute)                    \
  F(cuptiDeviceGetChipName)                       \
  F(cuptiProfilerInitialize)                      \
  F(cuptiProfilerDeInitialize)                    \
  F(cuptiProfilerDeviceSupported)                 \
  F(cuptiProfilerGetCounterAvailability)          \
  F(cuptiProfilerHostGetSupportedChips)           \
  F(cuptiProfilerHostInitialize)                  \
  F(cuptiProfilerHostDeinitialize)                \
  F(cuptiProfilerHostGetBaseMetrics)              \
  F(cuptiProfilerHostConfigAddMetrics)            \
  F(cuptiProfilerHostGetConfigImageSize)          \
  F(cuptiProfilerHostGetConfigImage)              \
  F(cuptiProfilerHostGetNumOfPasses)              \
  F(cuptiProfilerHostEvaluateToGpuValues)         \
  F(cuptiRangeProfilerEnable)                     \
  F(cuptiRangeProfilerDisable)                    \
  F(cuptiRangeProfilerGetCounterDataSize)         \
  F(cuptiRangeProfilerCounterDataImageInitialize) \
  F(cuptiRangeProfilerSetConfig)                  \
  F(cuptiRangeProfilerStart)                      \
  F(cuptiRangeProfilerStop)                       \
  F(cuptiRangeProfilerPushRange)                  \
  F(cuptiRangeProfilerPopRange)                   \
  F(cuptiRangeProfilerDecodeData)                 \
  F(cuptiRangeProfilerGetCounterDataInfo)         \
  F(cuptiRangeProfilerCounterDataGetRangeInfo)

namespace reckon::profiler::cupti {

struct Library {
#define RECKON_CUPTI_POINTER(name) decltype(&::name) name = nullptr;
  RECKON_CUPTI_FUNCTIONS(RECKON_CUPTI_POINTER)
#undef RECKON_CUPTI_POINTER
  uint32_t version = 0;
  std::string file;  // as it was opened

  std::string name() const;  // "CUPTI 13.0.1"
};

// Opened once and kept: libcupti registers exit handlers. Null with one line in *why. Searched: the file or
// folder that RECKON_CUPTI names, the toolkit this was built with, the loader's own places.
const Library* open_library(std::string* why);

std::string version_text(uint32_t version);  // 130001 -> "13.0.1"; 28 -> "API 28"

}  // namespace reckon::profiler::cupti
