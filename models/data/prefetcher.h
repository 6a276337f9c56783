// Computes batches ahead of the training loop in one background thread. The order is that of the steps whatever
// the timing; an exception in the producer arrives at the next() of its step. Called by training loops.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

#include "runtime/core/error.h"

namespace reckon::data {

template <class Batch>
class Prefetcher {
 public:
  // `produce(step)` is called for first_step, first_step + 1, ... from the background thread only.
  explicit Prefetcher(std::function<Batch(uint64_t)> produce, uint64_t first_step = 0, size_t depth = 2)
      : produce_(std::move(produce)), depth_(depth) {
    RECKON_CHECK(produce_ != nullptr, "prefetcher without a function that produces batches");
    RECKON_CHECK(depth_ >= 1, "prefetch depth 0, expected at least 1");
    worker_ = std::jthread([this, first_step](const std::stop_token& stop) { work(stop, first_step); });
  }
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  // Waits for the next step's batch. After the producer has thrown, this and
  // every further call throws the same.
  Batch next() {
    std::unique_lock lock(mutex_);
    filled_.wait(lock, [&] { return !ready_.empty() || failure_; });
    if (ready_.empty()) std::rethrow_exception(failure_);
    Batch batch = std::move(ready_.front());
    ready_.pop_front();
    lock.unlock();
    taken_.notify_one();
    return batch;
  }

 private:
  void work(const std::stop_token& stop, uint64_t step) {
    for (;; ++step) {
      {
        // Waiting before producing keeps at most depth_ batches alive in here, the one being made included.
        std::unique_lock lock(mutex_);
        if (!taken_.wait(lock, stop, [&] { return ready_.size() < depth_; }) || stop.stop_requested()) return;
      }
      try {
        Batch batch = produce_(step);
        const std::lock_guard lock(mutex_);
        ready_.push_back(std::move(batch));
      } catch (...) {
        const std::lock_guard lock(mutex_);
        failure_ = std::current_exception();
      }
      filled_.notify_one();
      if (failed()) return;
    }
  }

  bool failed() {
    const std::lock_guard lock(mutex_);
    return failure_ != nullptr;
  }

  std::function<Batch(uint64_t)> produce_;
  size_t depth_;
  std::mutex mutex_;
  std::condition_variable_any taken_;
  std::condition_variable filled_;
  std::deque<Batch> ready_;
  std::exception_ptr failure_;
  std::jthread worker_;  // last: it is stopped and joined before what it uses goes away
};

}  // namespace reckon::data
