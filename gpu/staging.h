// Copies between pageable host memory and the device through two pinned buffers, so that the host fills (or
// empties) one while the other is on its way.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

namespace reckon::cuda {

class Staging {
 public:
  explicit Staging(cudaStream_t stream);
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // Returns when `from` may be reused; the device sees the bytes in the order of its stream.
  void to_device(std::byte* to, const void* from, size_t bytes);
  // Returns when `to` holds the bytes.
  void to_host(void* to, const std::byte* from, size_t bytes);

  static constexpr size_t kBufferBytes = size_t{8} << 20;

 private:
  struct Buffer {
    std::byte* data = nullptr;
    cudaEvent_t sent = nullptr;
    bool busy = false;
  };
  Buffer& next();  // waits until its last copy is through

  cudaStream_t stream_;
  Buffer buffers_[2];
  int turn_ = 0;
};

}  // namespace reckon::cuda
