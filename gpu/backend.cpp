#include "gpu/backend.h"

#include <cuda_runtime.h>
#include <fmt/format.h>

#include <cstdlib>

#include "gpu/check.h"
#include "gpu/library/library_context.cuh"
#include "gpu/marks.h"
#include "gpu/staging.h"
#include "ops/kernel/gpu/gpu_kernels.h"

namespace reckon::cuda {
namespace {

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

// Segments straight from the driver; the arena above decides what lies in them.
class Source : public MemorySource {
 public:
  std::byte* acquire(size_t bytes) override {
    void* p = nullptr;
    const cudaError_t status = cudaMalloc(&p, bytes);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // the arena reports it; later calls must not see it again
      return nullptr;
    }
    check(status, "taking a segment of device memory");
    return static_cast<std::byte*>(p);
  }
  void release(std::byte* base, size_t) override { cudaFree(base); }
  bool readable_by_host() const override { return false; }
  long long resident_bytes(const std::byte*, size_t bytes) const override {
    return static_cast<long long>(bytes);
  }
};

class CudaBackend : public Backend {
 public:
  CudaBackend(int device, const cudaDeviceProp& properties, std::unique_ptr<DeviceTracer> tracer,
              std::string why_no_tracer)
      : properties_(properties), tracer_(std::move(tracer)), why_no_tracer_(std::move(why_no_tracer)) {
    int driver = 0;
    cudaDriverGetVersion(&driver);
    name_ = fmt::format("{} (device {}, driver for CUDA {})", properties.name, device, version_text(driver));
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
    if (tracer_) tracer_->context_made();
    staging_ = std::make_unique<Staging>(stream_);
    libraries_ = std::make_unique<ops::gpu::LibraryContext>();
    libraries_->tracer = tracer_.get();
  }
  ~CudaBackend() override {
    cudaStreamSynchronize(stream_);
    libraries_.reset();
    staging_.reset();
    cudaStreamDestroy(stream_);
  }

  std::string_view name() const override { return name_; }
  DeviceSpec spec() const override {
    DeviceSpec s = DeviceSpec::gpu();
    s.name = properties_.name;
    s.compute_capability = properties_.major * 10 + properties_.minor;
    s.multiprocessors = properties_.multiProcessorCount;
    s.shared_bytes_per_block = properties_.sharedMemPerBlockOptin;
    s.memory_bytes = properties_.totalGlobalMem;
    return s;
  }
  std::unique_ptr<MemorySource> make_source() override { return std::make_unique<Source>(); }
  DeviceKernel kernel(std::string_view op) const override { return ops::gpu::find_kernel(op); }
  void copy_from_host(std::byte* to, const void* from, size_t bytes) override {
    staging_->to_device(to, from, bytes);
  }
  void copy_to_host(void* to, const std::byte* from, size_t bytes) override {
    staging_->to_host(to, from, bytes);
  }
  void synchronize() override { check(cudaStreamSynchronize(stream_), "waiting for the device"); }
  void* stream() const override { return stream_; }
  void* context() override { return libraries_.get(); }

  void begin_op(int64_t call, std::string_view op, std::string_view module, std::string_view phase) override {
    marks_.begin(op, module, phase);
    if (tracer_) tracer_->begin_op(call, op, module, phase);
  }
  void end_op() override {
    if (tracer_) tracer_->end_op();
    marks_.end();
  }
  DeviceTracer* tracer(std::string* why) override {
    if (!tracer_) *why = why_no_tracer_;
    return tracer_.get();
  }

 private:
  cudaDeviceProp properties_;
  std::string name_;
  cudaStream_t stream_ = nullptr;
  std::unique_ptr<DeviceTracer> tracer_;
  std::string why_no_tracer_;
  Marks marks_;
  std::unique_ptr<Staging> staging_;
  std::unique_ptr<ops::gpu::LibraryContext> libraries_;
};

// What cudaGetDeviceCount says where there is nothing to run on.
std::string reason_of(cudaError_t status) {
  switch (status) {
    case cudaErrorInsufficientDriver:
      return fmt::format("no NVIDIA driver on this machine, or one older than CUDA {} needs (CUDA error 35)",
                         version_text(CUDART_VERSION));
    case cudaErrorStubLibrary:
      return "the driver library that was found is the toolkit's stub (CUDA error 34): take its folder off the "
             "loader's path";
    case cudaErrorNoDevice:
      return "an NVIDIA driver, but no GPU that this process may see (CUDA error 100; CUDA_VISIBLE_DEVICES?)";
    default:
      return fmt::format("{} ({}, CUDA error {})", cudaGetErrorString(status), cudaGetErrorName(status),
                         static_cast<int>(status));
  }
}

}  // namespace

std::unique_ptr<Backend> open_backend(int device, bool trace, std::string* why) {
  // All modules at once: else device memory grows with the first call of each kernel, in the middle of a step.
  setenv("CUDA_MODULE_LOADING", "EAGER", 0);
  int n = 0;  // left untouched on failure
  if (const cudaError_t status = cudaGetDeviceCount(&n); status != cudaSuccess || n == 0) {
    *why = reason_of(status == cudaSuccess ? cudaErrorNoDevice : status);
    return nullptr;
  }
  if (device < 0 || device >= n) {
    *why = fmt::format("there is no GPU {}: this process sees {}", device, n);
    return nullptr;
  }
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, device), "reading the properties of the GPU");
  if (properties.major < 8) {
    *why = fmt::format(
        "{} has compute capability {}.{}, and the plugin holds code for 8.0, 9.0 and what comes after",
        properties.name, properties.major, properties.minor);
    return nullptr;
  }
  // Before the context exists: what watches the hardware must be told where to keep its buffers.
  std::string why_no_tracer = "tracing was not asked for when the GPU was opened";
  std::unique_ptr<DeviceTracer> tracer = trace ? make_tracer(device, &why_no_tracer) : nullptr;
  // From here on, so that what libraries take when their handles are made is heard too.
  if (tracer && !tracer->start(&why_no_tracer)) tracer.reset();
  check(cudaSetDevice(device), "choosing the GPU");
  return std::make_unique<CudaBackend>(device, properties, std::move(tracer), std::move(why_no_tracer));
}

}  // namespace reckon::cuda
