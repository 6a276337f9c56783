#include "runtime/core/intern.h"

#include <array>
#include <deque>
#include <mutex>
#include <string>
#include <unordered_map>

namespace reckon {
namespace {

struct Table {
  std::mutex mutex;
  std::deque<std::string> names{""};
  std::unordered_map<std::string_view, uint32_t> index{{"", 0}};
  std::unordered_map<uint64_t, uint32_t> paths;
};

Table& table() {
  static Table* t = new Table;  // never destroyed: names stay valid in destructors of statics
  return *t;
}

// Returns the entry itself, whose text lives as long as the process.
const std::pair<const std::string_view, uint32_t>& intern_locked(Table& t, std::string_view name) {
  if (auto it = t.index.find(name); it != t.index.end()) return *it;
  const auto id = static_cast<uint32_t>(t.names.size());
  t.names.emplace_back(name);
  return *t.index.emplace(t.names.back(), id).first;
}

// Every op call names itself, its kernels and its tensors, nearly always by the same literals.
// What a thread asked for last is remembered by where the text lies; the text itself is compared,
// so reused memory cannot mislead.
struct Recent {
  std::string_view name;
  uint32_t id = 0;
};
constexpr size_t kRecent = 512;  // a power of two

struct RecentPath {
  uint64_t key = 0;  // parent and child; 0 is never asked for
  uint32_t id = 0;
};

size_t slot_of(uint64_t key) { return (key * 0x9e3779b97f4a7c15ull) >> 55; }  // the upper 9 bits
static_assert(kRecent == size_t{1} << 9);

}  // namespace

NameId intern(std::string_view name) {
  thread_local std::array<Recent, kRecent> recent;
  Recent& r = recent[slot_of(reinterpret_cast<uintptr_t>(name.data()) + name.size())];
  if (r.name == name) return {r.id};
  Table& t = table();
  std::lock_guard lock(t.mutex);
  const auto& [text, id] = intern_locked(t, name);
  r = {text, id};
  return {id};
}

std::string_view name_of(NameId id) {
  Table& t = table();
  std::lock_guard lock(t.mutex);
  return t.names[id.index];
}

NameId join_path(NameId parent, NameId child) {
  if (parent.index == 0) return child;
  if (child.index == 0) return parent;
  const uint64_t key = (static_cast<uint64_t>(parent.index) << 32) | child.index;
  thread_local std::array<RecentPath, kRecent> recent;
  RecentPath& r = recent[slot_of(key)];
  if (r.key == key) return {r.id};
  Table& t = table();
  std::lock_guard lock(t.mutex);
  auto it = t.paths.find(key);
  if (it == t.paths.end())
    it =
        t.paths.emplace(key, intern_locked(t, t.names[parent.index] + "." + t.names[child.index]).second).first;
  r = {key, it->second};
  return {it->second};
}

}  // namespace reckon
