#include "gpu/staging.h"

#include <algorithm>
#include <cstring>

#include "gpu/check.h"

namespace reckon::cuda {

Staging::Staging(cudaStream_t stream) : stream_(stream) {
  for (Buffer& b : buffers_) {
    check(cudaMallocHost(reinterpret_cast<void**>(&b.data), kBufferBytes), "pinning host memory for copies");
    check(cudaEventCreateWithFlags(&b.sent, cudaEventDisableTiming), "making an event");
  }
}

Staging::~Staging() {
  for (Buffer& b : buffers_) {
    if (b.busy) cudaEventSynchronize(b.sent);
    if (b.sent) cudaEventDestroy(b.sent);
    if (b.data) cudaFreeHost(b.data);
  }
}

Staging::Buffer& Staging::next() {
  Buffer& b = buffers_[turn_];
  turn_ = 1 - turn_;
  if (b.busy) check(cudaEventSynchronize(b.sent), "waiting for a copy");
  b.busy = false;
  return b;
}

void Staging::to_device(std::byte* to, const void* from, size_t bytes) {
  for (size_t at = 0; at < bytes; at += kBufferBytes) {
    const size_t n = std::min(kBufferBytes, bytes - at);
    Buffer& b = next();
    std::memcpy(b.data, static_cast<const std::byte*>(from) + at, n);
    check(cudaMemcpyAsync(to + at, b.data, n, cudaMemcpyHostToDevice, stream_), "a copy to the device");
    check(cudaEventRecord(b.sent, stream_), "recording an event");
    b.busy = true;
  }
}

void Staging::to_host(void* to, const std::byte* from, size_t bytes) {
  struct Pending {
    Buffer* buffer = nullptr;
    size_t at = 0, n = 0;
  } pending;
  const auto finish = [&] {
    if (!pending.buffer) return;
    check(cudaEventSynchronize(pending.buffer->sent), "waiting for a copy to the host");
    pending.buffer->busy = false;
    std::memcpy(static_cast<std::byte*>(to) + pending.at, pending.buffer->data, pending.n);
    pending.buffer = nullptr;
  };
  for (size_t at = 0; at < bytes; at += kBufferBytes) {
    const size_t n = std::min(kBufferBytes, bytes - at);
    Buffer& b = next();
    check(cudaMemcpyAsync(b.data, from + at, n, cudaMemcpyDeviceToHost, stream_), "a copy to the host");
    check(cudaEventRecord(b.sent, stream_), "recording an event");
    b.busy = true;
    finish();
    pending = {&b, at, n};
  }
  finish();
}

}  // namespace reckon::cuda
