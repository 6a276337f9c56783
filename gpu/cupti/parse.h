// CUPTI's activity buffers as plain records. Part of the CUDA plugin; the walk over a buffer is a parameter, so
// that tests can feed buffers they made themselves.
#pragma once

#include <cupti.h>

#include <string>
#include <unordered_map>

#include "runtime/device_observer.h"

namespace reckon::profiler::cupti {

// As cuptiActivityGetNextRecord: the record after *record (the first one for null);
// CUPTI_ERROR_MAX_LIMIT_REACHED at the end.
using NextRecord = CUptiResult (*)(uint8_t* buffer, size_t valid_bytes, CUpti_Activity** record);

class Parser {
 public:
  // Appends the records of one buffer. A walk that fails is noted in n_damaged; what came before it stays.
  void read(uint8_t* buffer, size_t valid_bytes, NextRecord next);
  // Records read and not taken yet; the parser starts over.
  Activity take();
  int64_t n_records() const { return n_records_; }  // since the parser was made
  int64_t held_bytes() const;

 private:
  void read(const CUpti_Activity& record);
  int32_t name_of(const char* text);

  Activity out_;
  std::unordered_map<std::string, int32_t> names_{{"", 0}};
  int64_t n_records_ = 0;
};

}  // namespace reckon::profiler::cupti
