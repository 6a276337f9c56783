#include "profiler/repeats.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "profiler/books.h"
#include "profiler/replay.h"
#include "runtime/core/hash.h"

namespace reckon::profiler {
namespace {

struct Execution {
  NameId module{};
  int64_t parent = -1;  // the execution of the module around it
  uint64_t first = 0, hash = 1;
  int64_t last_call = -1;
  int64_t ops = 0, made_bytes = 0, kept_bytes = 0, flops = 0;
};

// The module and those around it, outermost first.
std::vector<NameId> path_of(NameId module) {
  std::vector<NameId> path;
  const std::string_view name = name_of(module);
  for (size_t dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.', dot + 1))
    path.push_back(intern(name.substr(0, dot)));
  if (!name.empty()) path.push_back(module);
  return path;
}

class Finder {
 public:
  void on(const Event& e) {
    if (e.kind == EventKind::op_begin) {
      inside_ = is_forward(e.phase);
      made_.clear();
    } else if (e.kind == EventKind::allocated && inside_ && e.category != Category::workspace) {
      made_.push_back({e.id, e.bytes});
    } else if (e.kind == EventKind::op_end && is_forward(e.phase)) {
      call(e);
      inside_ = false;
    } else if (e.kind == EventKind::saved && !is_alias(e.category)) {
      const auto it = maker_.find(e.id);
      if (it == maker_.end()) return;
      for (int64_t x = it->second.execution; x >= 0; x = executions_[static_cast<size_t>(x)].parent)
        executions_[static_cast<size_t>(x)].kept_bytes += it->second.bytes;
      maker_.erase(it);  // kept once, however often it is saved and released
    } else if (e.kind == EventKind::freed) {
      maker_.erase(e.id);
    }
  }

  std::vector<RepeatedSubgraph> result() const {
    std::map<std::pair<uint32_t, uint64_t>, std::vector<const Execution*>> groups;
    for (const Execution& x : executions_) groups[{x.module.index, x.hash}].push_back(&x);
    const auto times = [&](const Execution& x) { return groups.at({x.module.index, x.hash}).size(); };
    std::vector<RepeatedSubgraph> out;
    for (const auto& [key, members] : groups) {
      if (members.size() < 2) continue;
      // Every execution lies in a repeated one: the module around it tells the story.
      const bool covered = std::ranges::all_of(members, [&](const Execution* x) {
        return x->parent >= 0 && times(executions_[static_cast<size_t>(x->parent)]) >= 2;
      });
      if (covered || members[0]->made_bytes == 0) continue;
      RepeatedSubgraph r{std::string(name_of(members[0]->module)),
                         static_cast<int64_t>(members.size()),
                         members[0]->ops,
                         members[0]->made_bytes,
                         0,
                         members[0]->flops};
      for (const Execution* x : members) r.kept_bytes += x->kept_bytes;
      out.push_back(std::move(r));
    }
    std::ranges::sort(out, [](const RepeatedSubgraph& a, const RepeatedSubgraph& b) {
      return std::pair(a.spare_flops(), a.spare_kept_bytes()) >
             std::pair(b.spare_flops(), b.spare_kept_bytes());
    });
    return out;
  }

 private:
  struct Made {
    int64_t execution, bytes;
  };

  static bool is_forward(Phase p) { return p == Phase::forward || p == Phase::loss; }

  void call(const Event& e) {
    auto [it, fresh] = paths_.try_emplace(e.module.index);
    if (fresh) it->second = path_of(e.module);
    // A call that cannot be compared differs from all others.
    const uint64_t signature =
        e.signature != 0 ? e.signature : mix_hash(0x756e6b6e6f776eull, static_cast<uint64_t>(calls_));
    int64_t parent = -1, made_bytes = 0;
    for (const auto& [id, bytes] : made_) made_bytes += bytes;
    for (const NameId module : it->second) {
      const auto [open, first_time] = open_.try_emplace(module.index, -1);
      Execution* x = open->second < 0 ? nullptr : &executions_[static_cast<size_t>(open->second)];
      // Another begins after a gap, in another execution of the module around it, or
      // where the first call comes again.
      if (!x || x->last_call != calls_ - 1 || x->parent != parent || x->first == signature) {
        open->second = static_cast<int64_t>(executions_.size());
        executions_.push_back({.module = module, .parent = parent, .first = signature});
        x = &executions_.back();
      }
      x->hash = mix_hash(x->hash, signature);
      x->last_call = calls_;
      x->ops += 1;
      x->made_bytes += made_bytes;
      x->flops += flops(e.cost);
      parent = open->second;
    }
    for (const auto& [id, bytes] : made_) maker_[id] = {parent, bytes};
    ++calls_;
  }

  bool inside_ = false;
  int64_t calls_ = 0;
  std::vector<std::pair<int64_t, int64_t>> made_;  // id, bytes
  std::vector<Execution> executions_;
  std::unordered_map<uint32_t, int64_t> open_;
  std::unordered_map<uint32_t, std::vector<NameId>> paths_;
  std::unordered_map<int64_t, Made> maker_;
};

}  // namespace

std::vector<RepeatedSubgraph> find_repeated_subgraphs(std::span<const Event> events) {
  Finder finder;
  for (const Event& e : events) finder.on(e);
  return finder.result();
}

}  // namespace reckon::profiler
