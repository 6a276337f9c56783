// Where segments come from. A source gets and returns whole segments and knows nothing of what is inside.
#pragma once

#include <cstddef>
#include <memory>

namespace reckon {

struct MemorySource {
  virtual ~MemorySource() = default;
  virtual std::byte* acquire(size_t bytes) = 0;  // aligned to 2 MiB; null when the device has no more
  virtual void release(std::byte* base, size_t bytes) = 0;
  virtual bool readable_by_host() const = 0;
  // Whether it is this process's memory, which AddressSanitizer can watch.
  virtual bool poisonable() const { return readable_by_host(); }
  // Bytes of [base, base + bytes) that occupy physical memory now; -1 when unknown.
  virtual long long resident_bytes(const std::byte* base, size_t bytes) const = 0;
};

std::unique_ptr<MemorySource> make_host_source();  // anonymous mappings: pages cost nothing until touched
std::unique_ptr<MemorySource> make_fake_source();  // addresses that must never be followed

}  // namespace reckon
