// The buffers CUPTI writes its records to, and the thread that reads them. CUPTI's callbacks carry no user
// data, so there is one set per process, and it is never destroyed: a callback may come as late as the
// process's end. Part of the CUDA plugin.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "gpu/cupti/cupti_library.h"
#include "gpu/cupti/parse.h"

namespace reckon::profiler::cupti {

class ActivityBuffers {
 public:
  static constexpr size_t kBytes = size_t{4} << 20;

  static ActivityBuffers& instance();

  // Registers the callbacks, once per process.
  CUptiResult attach(const Library& library);
  // Reads everything queued so far; the caller has flushed. `library`'s functions are called with no
  // lock held, since they call back.
  Activity take();

  // What CUPTI calls.
  void request(uint8_t** buffer, size_t* size);
  void complete(CUcontext context, uint32_t stream, uint8_t* buffer, size_t valid_bytes);

  int64_t host_bytes() const;
  int64_t host_ns() const;
  int64_t n_buffers() const;
  int64_t n_records() const;

 private:
  struct Job {
    CUcontext context;
    uint32_t stream;
    uint8_t* buffer;
    size_t valid_bytes;
  };
  ActivityBuffers() = default;
  void work();

  const Library* library_ = nullptr;
  mutable std::mutex mutex_;  // guards all below; never held around a call of the library
  std::condition_variable changed_;
  std::vector<uint8_t*> free_;
  std::deque<Job> queue_;
  bool reading_ = false;
  Parser parser_;  // the worker's while `reading_`
  int64_t n_buffers_ = 0, n_dropped_ = 0, host_ns_ = 0, parsed_bytes_ = 0, n_records_ = 0;
};

}  // namespace reckon::profiler::cupti
