#include "profiler/books.h"

#include <numeric>

#include "runtime/core/error.h"

namespace reckon::profiler {

int64_t WorkCell::n_launches() const { return std::accumulate(launches.begin(), launches.end(), int64_t{0}); }

int64_t TimelinePoint::total() const { return std::accumulate(bytes.begin(), bytes.end(), int64_t{0}); }

ByCategory<int64_t> StepBooks::peak_by_category() const {
  ByCategory<int64_t> out{};
  for (const Cell& c : cells) out[static_cast<size_t>(c.category)] += c.bytes;
  return out;
}

ByCategory<int64_t> StepBooks::rounded_by_category() const {
  ByCategory<int64_t> out{};
  for (const Cell& c : cells) out[static_cast<size_t>(c.category)] += c.rounded;
  return out;
}

ByPhase<Cost> StepBooks::cost_by_phase() const {
  ByPhase<Cost> out{};
  for (const WorkCell& w : work) out[static_cast<size_t>(w.phase)] += w.cost;
  return out;
}

ByPhase<int64_t> StepBooks::time_by_phase() const {
  ByPhase<int64_t> out{};
  for (const WorkCell& w : work) out[static_cast<size_t>(w.phase)] += w.time_ns;
  return out;
}

std::array<int64_t, kLaunchKinds> StepBooks::launches_by_kind() const {
  std::array<int64_t, kLaunchKinds> out{};
  for (const WorkCell& w : work)
    for (size_t k = 0; k < out.size(); ++k) out[k] += w.launches[k];
  return out;
}

int64_t StepBooks::n_launches() const {
  int64_t n = 0;
  for (const WorkCell& w : work) n += w.n_launches();
  return n;
}

namespace {

const StepBooks& first_of(std::initializer_list<const std::optional<StepBooks>*> choices) {
  for (const std::optional<StepBooks>* c : choices)
    if (*c) return **c;
  raise_error("the books are empty: was the ledger added to the device as a sink, and closed after the run?");
}

}  // namespace

const StepBooks& RunBooks::for_memory() const { return first_of({&highest, &init, &between}); }
const StepBooks& RunBooks::for_work() const { return first_of({&last, &init, &between}); }

int64_t flops(const Cost& c) { return c.matmul_flops + c.vector_flops; }

FlopSplit split_flops(const ByPhase<Cost>& cost) {
  FlopSplit out;
  for (int i = 0; i < kPhases; ++i) {
    const int64_t n = flops(cost[static_cast<size_t>(i)]);
    switch (static_cast<Phase>(i)) {
      case Phase::forward:
      case Phase::loss:
      case Phase::backward:
        out.model += n;
        break;
      case Phase::optimizer:
        out.optimizer += n;
        break;
      case Phase::recompute:
        out.recompute += n;
        break;
      default:
        out.other += n;
    }
  }
  return out;
}

void RunConfig::set(std::string_view key, std::string_view value) {
  for (auto& [k, v] : entries)
    if (k == key) {
      v = value;
      return;
    }
  entries.emplace_back(key, value);
}

std::optional<std::string> RunConfig::get(std::string_view key) const {
  for (const auto& [k, v] : entries)
    if (k == key) return v;
  return std::nullopt;
}

}  // namespace reckon::profiler
