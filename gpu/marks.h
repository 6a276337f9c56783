// Marks each op call for the tools of NVIDIA (Nsight Systems and Compute), under the name counters and reports
// use. Costs a pointer comparison where no such tool runs the program.
#pragma once

#include <nvtx3/nvToolsExt.h>

#include <string_view>

#include "runtime/device_observer.h"

namespace reckon::cuda {

class Marks {
 public:
  // Null where no tool listens: names are not even put together then.
  Marks() : domain_(nvtxDomainCreateA("reckon")) {}
  ~Marks() {
    if (domain_) nvtxDomainDestroy(domain_);
  }
  Marks(const Marks&) = delete;
  Marks& operator=(const Marks&) = delete;

  void begin(std::string_view op, std::string_view module, std::string_view phase) {
    if (!domain_) return;
    const std::string name = range_name(module, op, phase);
    nvtxEventAttributes_t attributes{};
    attributes.version = NVTX_VERSION;
    attributes.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
    attributes.messageType = NVTX_MESSAGE_TYPE_ASCII;
    attributes.message.ascii = name.c_str();  // copied by the tool
    nvtxDomainRangePushEx(domain_, &attributes);
  }
  void end() {
    if (domain_) nvtxDomainRangePop(domain_);
  }

 private:
  nvtxDomainHandle_t domain_;
};

}  // namespace reckon::cuda
