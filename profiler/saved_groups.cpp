#include "profiler/saved_groups.h"

#include <unordered_map>

#include "profiler/replay.h"

namespace reckon::profiler {
namespace {

// Index of a module's group, looked up once per module.
class Groups {
 public:
  explicit Groups(const ModuleGroup& group) : group_(group) {}
  size_t of(NameId module) {
    const auto [it, fresh] = index_.try_emplace(module.index, 0);
    if (fresh) {
      const std::string name(group_(name_of(module)));
      size_t i = 0;
      while (i < names_.size() && names_[i] != name) ++i;
      if (i == names_.size()) names_.push_back(name);
      it->second = i;
    }
    return it->second;
  }
  const std::vector<std::string>& names() const { return names_; }

 private:
  const ModuleGroup& group_;
  std::unordered_map<uint32_t, size_t> index_;
  std::vector<std::string> names_;
};

}  // namespace

std::map<std::string, int64_t> saved_by_group(std::span<const Event> events, const ModuleGroup& group) {
  struct Held {
    size_t group;
    int64_t bytes;
  };
  Groups groups(group);
  std::unordered_map<int64_t, Held> held;
  std::vector<int64_t> now, fullest;
  int64_t total = 0, most = -1;
  NameId keeper{};
  bool grown = false;  // since the last snapshot
  const auto snapshot = [&] {
    if (grown && total > most) most = total, fullest = now;
    grown = false;
  };
  for (const Event& e : events) {
    if (e.kind == EventKind::op_end) keeper = e.module;
    if (e.kind == EventKind::saved && !is_alias(e.category)) {
      const size_t g = groups.of(keeper);
      if (now.size() <= g) now.resize(g + 1);
      held[e.id] = {g, e.bytes};
      now[g] += e.bytes;
      total += e.bytes;
      grown = true;
    } else if (e.kind == EventKind::unsaved) {
      const auto it = held.find(e.id);
      if (it == held.end()) continue;
      snapshot();
      now[it->second.group] -= it->second.bytes;
      total -= it->second.bytes;
      held.erase(it);
    }
  }
  snapshot();
  std::map<std::string, int64_t> out;
  for (size_t g = 0; g < fullest.size(); ++g) out[groups.names()[g]] = fullest[g];
  return out;
}

}  // namespace reckon::profiler
