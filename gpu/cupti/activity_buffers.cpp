#include "gpu/cupti/activity_buffers.h"

#include <chrono>
#include <cstdlib>

namespace reckon::profiler::cupti {
namespace {

using Clock = std::chrono::steady_clock;

int64_t ns_since(Clock::time_point t) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - t).count();
}

void CUPTIAPI on_request(uint8_t** buffer, size_t* size, size_t* max_records) {
  *max_records = 0;  // as many as fit
  ActivityBuffers::instance().request(buffer, size);
}

void CUPTIAPI on_complete(CUcontext context, uint32_t stream, uint8_t* buffer, size_t, size_t valid_bytes) {
  ActivityBuffers::instance().complete(context, stream, buffer, valid_bytes);
}

}  // namespace

ActivityBuffers& ActivityBuffers::instance() {
  static ActivityBuffers* const buffers = new ActivityBuffers;
  return *buffers;
}

CUptiResult ActivityBuffers::attach(const Library& library) {
  if (library_) return CUPTI_SUCCESS;
  const CUptiResult result = library.cuptiActivityRegisterCallbacks(on_request, on_complete);
  if (result != CUPTI_SUCCESS) return result;
  library_ = &library;  // before the thread that reads it, and before any kind of record is enabled
  std::thread([this] { work(); }).detach();
  return CUPTI_SUCCESS;
}

void ActivityBuffers::request(uint8_t** buffer, size_t* size) {
  const auto begin = Clock::now();
  const std::lock_guard lock(mutex_);
  *size = kBytes;
  if (!free_.empty()) {
    *buffer = free_.back();
    free_.pop_back();
  } else {
    *buffer = static_cast<uint8_t*>(std::aligned_alloc(64, kBytes));
    if (*buffer)
      ++n_buffers_;
    else
      *size = 0;  // CUPTI drops the record and counts it
  }
  host_ns_ += ns_since(begin);
}

void ActivityBuffers::complete(CUcontext context, uint32_t stream, uint8_t* buffer, size_t valid_bytes) {
  if (!buffer) return;
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back({context, stream, buffer, valid_bytes});
  }
  changed_.notify_all();
}

void ActivityBuffers::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return !queue_.empty(); });
    const Job job = queue_.front();
    queue_.pop_front();
    reading_ = true;
    lock.unlock();
    const auto begin = Clock::now();
    parser_.read(job.buffer, job.valid_bytes, library_->cuptiActivityGetNextRecord);
    size_t dropped = 0;
    if (library_->cuptiActivityGetNumDroppedRecords(job.context, job.stream, &dropped) != CUPTI_SUCCESS)
      dropped = 0;
    const int64_t held = parser_.held_bytes(), records = parser_.n_records();
    lock.lock();
    reading_ = false;
    parsed_bytes_ = held;
    n_records_ = records;
    n_dropped_ += static_cast<int64_t>(dropped);
    host_ns_ += ns_since(begin);
    free_.push_back(job.buffer);
    changed_.notify_all();
  }
}

Activity ActivityBuffers::take() {
  size_t dropped = 0;
  if (library_->cuptiActivityGetNumDroppedRecords(nullptr, 0, &dropped) != CUPTI_SUCCESS) dropped = 0;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return queue_.empty() && !reading_; });
  Activity out = parser_.take();
  out.n_dropped = n_dropped_ + static_cast<int64_t>(dropped);
  n_dropped_ = 0;
  parsed_bytes_ = 0;
  return out;
}

int64_t ActivityBuffers::host_bytes() const {
  const std::lock_guard lock(mutex_);
  return n_buffers_ * static_cast<int64_t>(kBytes) + parsed_bytes_;
}
int64_t ActivityBuffers::host_ns() const {
  const std::lock_guard lock(mutex_);
  return host_ns_;
}
int64_t ActivityBuffers::n_buffers() const {
  const std::lock_guard lock(mutex_);
  return n_buffers_;
}
int64_t ActivityBuffers::n_records() const {
  const std::lock_guard lock(mutex_);
  return n_records_;
}

}  // namespace reckon::profiler::cupti
