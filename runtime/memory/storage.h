// One block of an arena, shared by every tensor that views it; freed with the last handle.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/core/hash.h"
#include "runtime/memory/arena.h"

namespace reckon {

class Device;

// Told before a storage is overwritten, while the old values are still there. What it throws stops the write.
class WriteListener {
 public:
  virtual ~WriteListener() = default;
  virtual void before_write() = 0;
};

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

  // Every write after birth goes through these two: first everybody who still needs the old values is told (who
  // may run ops), then, when nothing can fail any more but the write itself, the version counts it, so that a
  // saved tensor that was overwritten is noticed.
  void announce_write();
  void bump_version() {
    ++version_;
    value_ = 0;
  }
  uint32_t version() const { return version_; }
  void add_listener(WriteListener* listener) { listeners_.push_back(listener); }
  void remove_listener(WriteListener* listener);

  // Storages of a process in the order they were made, over all devices and threads.
  uint64_t birth() const { return birth_; }
  static uint64_t next_birth();

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
  uint64_t birth_;
  std::vector<WriteListener*> listeners_;
};

}  // namespace reckon
