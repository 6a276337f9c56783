// Marks that other tools show: an NVTX range around each op call, named module/op/phase as in our own reports. The library
// behind it does nothing unless such a tool is attached.
#pragma once

#include <nvtx3/nvToolsExt.h>

#include <string>

namespace reckon::cuda {

struct Marks {
  void push(const std::string& name) { nvtxRangePushA(name.c_str()); }
  void pop() { nvtxRangePop(); }
};

}  // namespace reckon::cuda
