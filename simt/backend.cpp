#include "simt/backend.h"

#include <cstring>
#include <set>
#include <string>

#include "ops/kernel/gpu/gpu_kernels.h"

namespace simt {
namespace {

std::set<std::string, std::less<>> process_ops;

// Host memory that the rest of the program must treat as a GPU's: only kernels and copies may touch it.
class Source : public reckon::MemorySource {
 public:
  std::byte* acquire(size_t bytes) override { return host_->acquire(bytes); }
  void release(std::byte* base, size_t bytes) override { host_->release(base, bytes); }
  bool readable_by_host() const override { return false; }
  bool poisonable() const override { return true; }
  long long resident_bytes(const std::byte* base, size_t bytes) const override {
    return host_->resident_bytes(base, bytes);
  }

 private:
  std::unique_ptr<reckon::MemorySource> host_ = reckon::make_host_source();
};

class SimtBackend : public reckon::Backend {
 public:
  std::string_view name() const override { return "the emulated GPU"; }
  reckon::DeviceSpec spec() const override { return simt::spec(); }
  std::unique_ptr<reckon::MemorySource> make_source() override { return std::make_unique<Source>(); }
  reckon::DeviceKernel kernel(std::string_view op) const override {
    process_ops.emplace(op);
    return reckon::ops::gpu::find_kernel(op);
  }
  void copy_from_host(std::byte* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void copy_to_host(void* to, const std::byte* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void synchronize() override {}
};

}  // namespace

reckon::DeviceSpec spec() {
  reckon::DeviceSpec s = reckon::DeviceSpec::gpu();
  s.name = "emulated GPU";
  s.compute_capability = 90;
  s.multiprocessors = 4;
  s.shared_bytes_per_block = 232448;
  s.memory_bytes = size_t{2} << 30;
  return s;
}

std::vector<std::string_view> kernels_never_run() {
  std::vector<std::string_view> out;
  for (const reckon::ops::gpu::NamedKernel& k : reckon::ops::gpu::all_kernels())
    if (!process_ops.contains(k.op)) out.push_back(k.op);
  return out;
}

std::unique_ptr<reckon::Backend> make_backend() { return std::make_unique<SimtBackend>(); }

}  // namespace simt
