#include "profiler/device_status.h"

#include <fmt/format.h>

namespace reckon::profiler::cupti {
namespace {

std::string reason(int result, std::string_view rival) {
  switch (result) {
    case 7:
      return "CUPTI refuses this in its present state (INVALID_OPERATION)";
    case 8:
      return "there is no memory left for the tool's buffers";
    case 11:
    case 27:
      return "this device or driver does not support it";
    case 14:
      return "it cannot be combined with what another tool in this process has switched on";
    case 15:
      return "CUPTI could not start; where libcupti was found but not libnvperf_host.so beside it, this is the "
             "result";
    case 26:
      return "the hardware's counters are taken by another tool (DCGM, Nsight or another run): stop it, or "
             "`dcgmi profile --pause`";
    case 33:
      return "this is a virtual GPU whose profiling is not supported";
    case 35:
      return "counters are for administrators on this machine: run as root or with CAP_SYS_ADMIN (a container: "
             "--cap-add SYS_ADMIN), or have "
             "the driver loaded with NVreg_RestrictProfilingToAdminUsers=0";
    case 36:
      return "another part of this process uses CUPTI's older profiling interface";
    case 38:
      return "this version of CUPTI no longer has the interface that was asked for";
    case 39:
      return rival.empty() ? "another tool is subscribed to CUPTI in this process (Nsight, a debugger, "
                             "compute-sanitizer or another profiler)"
                           : fmt::format("another tool is subscribed to CUPTI in this process: {}", rival);
    case 40:
      return "this virtual GPU does not permit profiling: whoever runs the host must allow it";
    case 41:
      return "this GPU runs in confidential-computing mode, which forbids it";
    case 42:
      return "mining processors (CMP) do not support it";
    case 43:
      return "this GPU is a MIG slice, which does not support it";
    case 44:
      return "GPUs linked by SLI do not support it";
    case 45:
      return "the Windows Subsystem for Linux does not support it";
    case 46:
      return "this version of CUPTI does not know the chip: a later toolkit does";
    case 999:
      return "CUPTI gives no reason (UNKNOWN), as it does where there is no driver";
    default:
      return "CUPTI refuses";
  }
}

}  // namespace

std::string explain(int result, std::string_view doing, std::string_view rival) {
  if (result == 0) return fmt::format("{} is possible", doing);
  return fmt::format("{} is not possible: {} (CUPTI error {})", doing, reason(result, rival), result);
}

}  // namespace reckon::profiler::cupti
