#include "profiler/driver_grants.h"

#include <algorithm>

namespace reckon::profiler {
namespace {

std::string file_name(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }

}  // namespace

void DriverGrants::apply(const Activity& activity) {
  // Buffers come in any order; grants and releases of one address must not.
  std::vector<const MemoryRecord*> order;
  for (const MemoryRecord& r : activity.memory)
    if (r.kind == DriverMemory::device) order.push_back(&r);
  std::stable_sort(order.begin(), order.end(),
                   [](const MemoryRecord* a, const MemoryRecord* b) { return a->t_ns < b->t_ns; });
  for (const MemoryRecord* r : order) {
    const auto at = held_.find(r->address);
    if (r->release) {
      if (at == held_.end()) {
        ++n_unknown_releases_;
        continue;
      }
      bytes_ -= at->second.bytes;
      held_.erase(at);
      continue;
    }
    std::string source = file_name(activity.names[static_cast<size_t>(r->source)]);
    if (r->from_pool) source += source.empty() ? "a memory pool" : " (memory pool)";
    if (at != held_.end()) bytes_ -= at->second.bytes;  // its release was lost
    held_[r->address] = {std::move(source), r->bytes};
    bytes_ += r->bytes;
  }
}

std::vector<Grant> DriverGrants::by_source() const {
  std::map<std::string, Grant> sums;
  for (const auto& [address, held] : held_) {
    Grant& g = sums[held.source];
    g.bytes += held.bytes;
    ++g.count;
  }
  std::vector<Grant> out;
  for (auto& [source, g] : sums) {
    g.source = source;
    out.push_back(g);
  }
  std::stable_sort(out.begin(), out.end(), [](const Grant& a, const Grant& b) { return a.bytes > b.bytes; });
  return out;
}

}  // namespace reckon::profiler
