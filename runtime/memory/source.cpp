#include "runtime/memory/source.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <vector>

namespace reckon {
namespace {

constexpr size_t kAlignment = size_t{2} << 20;

struct HostSource : MemorySource {
  std::byte* acquire(size_t bytes) override {
    // Over-allocate by one alignment and trim, so that segments start at 2 MiB like the fake ones.
    void* raw = mmap(nullptr, bytes + kAlignment, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED) return nullptr;
    const auto address = reinterpret_cast<uintptr_t>(raw);
    const uintptr_t aligned = (address + kAlignment - 1) / kAlignment * kAlignment;
    if (aligned > address) munmap(raw, aligned - address);
    const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));  // munmap begins at one
    const uintptr_t end = (aligned + bytes + page - 1) / page * page, mapped = address + bytes + kAlignment;
    if (mapped > end) munmap(reinterpret_cast<void*>(end), mapped - end);
    madvise(reinterpret_cast<void*>(aligned), bytes, MADV_HUGEPAGE);
    return reinterpret_cast<std::byte*>(aligned);
  }
  void release(std::byte* base, size_t bytes) override { munmap(base, bytes); }
  bool readable_by_host() const override { return true; }
  long long resident_bytes(const std::byte* base, size_t bytes) const override {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    std::vector<unsigned char> pages((bytes + page - 1) / page);
    if (mincore(const_cast<std::byte*>(base), bytes, pages.data()) != 0) return -1;
    long long resident = 0;
    for (unsigned char p : pages) resident += (p & 1) ? static_cast<long long>(page) : 0;
    return resident;
  }
};

struct FakeSource : MemorySource {
  std::byte* acquire(size_t bytes) override {
    const uintptr_t base = next_;
    next_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return reinterpret_cast<std::byte*>(base);
  }
  void release(std::byte*, size_t) override {}
  bool readable_by_host() const override { return false; }
  long long resident_bytes(const std::byte*, size_t) const override { return 0; }

  uintptr_t next_ = uintptr_t{1} << 46;
};

}  // namespace

std::unique_ptr<MemorySource> make_host_source() { return std::make_unique<HostSource>(); }
std::unique_ptr<MemorySource> make_fake_source() { return std::make_unique<FakeSource>(); }

}  // namespace reckon
