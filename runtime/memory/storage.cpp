#include "runtime/memory/storage.h"

#include "runtime/core/error.h"
#include "runtime/scope.h"

namespace reckon {

Storage::Storage(Device& device, size_t bytes, Category category, NameId label) : device_(device) {
  const Context& c = context();
  block_ = device.arena().allocate(bytes, {c.op, c.module, label, c.phase, category, c.step});
}

Storage::~Storage() { device_.arena().free(block_); }

void Storage::add_saver() {
  if (savers_++ > 0) return;
  const Category c = category();
  device_.arena().recategorize(block_, c == Category::transient ? Category::saved : c, EventKind::saved);
}

void Storage::drop_saver() {
  RECKON_ASSERT(savers_ > 0);
  if (--savers_ > 0) return;
  const Category c = category();
  device_.arena().recategorize(block_, c == Category::saved ? Category::transient : c, EventKind::unsaved);
}

void Storage::set_category(Category category) {
  if (category != this->category()) device_.arena().recategorize(block_, category, EventKind::recategorized);
}

}  // namespace reckon
