// Device memory that the driver has granted and not taken back, by the shared object that asked for it. Fed
// with a tracer's records as they come; pure.
#pragma once

#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/device_observer.h"

namespace reckon::profiler {

struct Grant {
  std::string source;  // file name of the shared object; empty: unknown
  int64_t bytes = 0, count = 0;
};

class DriverGrants {
 public:
  void apply(const Activity& activity);
  std::vector<Grant> by_source() const;  // largest first
  int64_t bytes() const { return bytes_; }
  int64_t n_unknown_releases() const { return n_unknown_releases_; }  // of memory granted before we listened

 private:
  struct Held {
    std::string source;
    int64_t bytes;
  };
  std::unordered_map<uint64_t, Held> held_;  // by address
  int64_t bytes_ = 0, n_unknown_releases_ = 0;
};

}  // namespace reckon::profiler
