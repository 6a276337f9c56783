// One block of an arena, shared by every tensor that views it; freed with the last handle.
#pragma once

#include <cstdint>
#include <memory>

#include "runtime/core/hash.h"
#include "runtime/memory/arena.h"

namespace reckon {

class Device;

class Storage {
 public:
  // `arena`: the device's.
  Storage(Device& device, Arena& arena, size_t bytes, Category category, NameId label);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Device& device() const { return device_; }
  std::byte* data() const { return block_.data; }
  size_t bytes() const { return block_.bytes; }
  int64_t id() const { return block_.id; }
  Category category() const { return arena_.category_of(block_); }

  // Backward keeps this storage: the first saver turns `transient` into `saved`, the last one turns it back.
  void add_saver();
  void drop_saver();
  int savers() const { return savers_; }
  void set_category(Category category);

  // Counts writes after birth, so that a saved tensor that was overwritten is noticed.
  void bump_version() {
    ++version_;
    value_ = 0;
  }
  uint32_t version() const { return version_; }

  // Names what is stored without looking at it: the call that made it, or the block and its
  // version. Equal names, equal values.
  uint64_t value_name() const { return value_ != 0 ? value_ : mix_hash(static_cast<uint64_t>(id()), version_); }
  void set_value_name(uint64_t name) { value_ = name; }

 private:
  Device& device_;
  Arena& arena_;
  Block block_;
  int savers_ = 0;
  uint32_t version_ = 0;
  uint64_t value_ = 0;
};

}  // namespace reckon
