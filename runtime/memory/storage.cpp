#include "runtime/memory/storage.h"

#include "runtime/core/error.h"
#include "runtime/events/scope.h"

namespace reckon {

Storage::Storage(Device& device, Arena& arena, size_t bytes, Category category, NameId label)
    : device_(device), arena_(arena) {
  const Context& c = context();
  block_ = arena_.allocate(bytes, {c.op, c.module, label, c.phase, category, c.step});
}

Storage::~Storage() { arena_.free(block_); }

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
