#include "runtime/memory/storage.h"

#include <algorithm>
#include <atomic>

#include "runtime/core/error.h"
#include "runtime/events/scope.h"

namespace reckon {
namespace {

std::atomic<uint64_t> births{0};

}  // namespace

Storage::Storage(Device& device, Arena& arena, size_t bytes, Category category, NameId label)
    : device_(device), arena_(arena), birth_(births.fetch_add(1, std::memory_order_relaxed)) {
  const Context& c = context();
  block_ = arena_.allocate(bytes, {c.op, c.module, label, c.phase, category, c.step});
}

Storage::~Storage() { arena_.free(block_); }

uint64_t Storage::next_birth() { return births.load(std::memory_order_relaxed); }

void Storage::announce_write() {
  if (listeners_.empty()) return;
  const std::vector<WriteListener*> told = listeners_;  // who is told may leave, and others with it
  for (WriteListener* listener : told)
    if (std::find(listeners_.begin(), listeners_.end(), listener) != listeners_.end()) listener->before_write();
}

void Storage::remove_listener(WriteListener* listener) {
  const auto found = std::find(listeners_.begin(), listeners_.end(), listener);
  if (found != listeners_.end()) listeners_.erase(found);
}

void Storage::add_saver() {
  if (savers_++ > 0) return;
  const Category c = category();
  arena_.recategorize(block_, c == Category::transient ? Category::saved : c, EventKind::saved);
}

void Storage::drop_saver() {
  RECKON_ASSERT(savers_ > 0);
  if (--savers_ > 0) return;
  const Category c = category();
  arena_.recategorize(block_, c == Category::saved ? Category::transient : c, EventKind::unsaved);
}

void Storage::set_category(Category category) {
  if (category != this->category()) arena_.recategorize(block_, category, EventKind::recategorized);
}

}  // namespace reckon
