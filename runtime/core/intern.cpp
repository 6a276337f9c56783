#include "runtime/core/intern.h"

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

uint32_t intern_locked(Table& t, std::string_view name) {
  if (auto it = t.index.find(name); it != t.index.end()) return it->second;
  const auto id = static_cast<uint32_t>(t.names.size());
  t.names.emplace_back(name);
  t.index.emplace(t.names.back(), id);
  return id;
}

}  // namespace

NameId intern(std::string_view name) {
  Table& t = table();
  std::lock_guard lock(t.mutex);
  return {intern_locked(t, name)};
}

std::string_view name_of(NameId id) {
  Table& t = table();
  std::lock_guard lock(t.mutex);
  return t.names[id.index];
}

NameId join_path(NameId parent, NameId child) {
  if (parent.index == 0) return child;
  if (child.index == 0) return parent;
  Table& t = table();
  std::lock_guard lock(t.mutex);
  const uint64_t key = (static_cast<uint64_t>(parent.index) << 32) | child.index;
  if (auto it = t.paths.find(key); it != t.paths.end()) return {it->second};
  const uint32_t id = intern_locked(t, t.names[parent.index] + "." + t.names[child.index]);
  t.paths.emplace(key, id);
  return {id};
}

}  // namespace reckon
