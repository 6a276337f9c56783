#include "profiler/device_trace.h"

#include <fmt/format.h>

#include <algorithm>

#include "profiler/device_closure.h"
#include "profiler/device_metrics.h"

namespace reckon::profiler {

DeviceTrace::DeviceTrace(Device& device, DeviceTracer& tracer, std::string own_source)
    : device_(device), tracer_(tracer), own_source_(std::move(own_source)) {
  books_.tracer = tracer.name();
}

DeviceTrace::~DeviceTrace() {
  if (running_) tracer_.stop();
}

bool DeviceTrace::start(std::string* why) {
  running_ = tracer_.start(why);
  return running_;
}

int DeviceTrace::count_steps(int64_t first, int64_t n_steps, std::string_view dtype) {
  std::string why;
  DeviceCounters* counters = tracer_.counters(dtype, &why);
  if (!counters) {
    books_.notes.push_back(why);
    return 0;
  }
  if (counters->n_passes() + 1 > n_steps) {
    books_.notes.push_back(
        fmt::format("counters of {} take {} steps, one a pass, between a first step and one that is traced: "
                    "the run needs {} steps",
                    counters->chip(), counters->n_passes(), counters->n_passes() + 2));
    return 0;
  }
  counters_ = counters;
  count_from_ = first;
  return counters->n_passes();
}

void DeviceTrace::on(const Event& e) {
  if (!running_) return;
  if (e.kind == EventKind::launched) {
    if (calls_.empty() || calls_.back().call != device_.n_calls())
      calls_.push_back({device_.n_calls(), e.op, e.module, e.phase});
    ++calls_.back().announced[static_cast<size_t>(e.launch)];
  } else if (e.kind == EventKind::step_begin) {
    begin_step(e.step);
  } else if (e.kind == EventKind::step_end) {
    end_step(e.step);
  }
}

// What was recorded since the last time: memory and overhead always count, work only inside of steps.
void DeviceTrace::collect(bool of_step) {
  device_.synchronize();
  activity_ = tracer_.collect();
  grants_.apply(activity_);
  for (const OverheadRecord& o : activity_.overheads) {
    const bool loading = o.kind == OverheadKind::module_loading || o.kind == OverheadKind::function_loading ||
                         o.kind == OverheadKind::compiler;
    (loading ? books_.module_loading_ns : books_.tracer_overhead_ns) +=
        std::max<int64_t>(o.end_ns - o.start_ns, 0);
  }
  if (of_step) most_calls_ = std::max(most_calls_, static_cast<int64_t>(calls_.size()));
}

void DeviceTrace::begin_step(int64_t step) {
  if (tracer_.recording()) collect(false);
  calls_.clear();
  if (!counters_ || step < count_from_) return;
  tracer_.stop();
  std::string why;
  // The same ranges come in every pass, and a first step makes no fewer calls than
  // later ones. Room costs memory.
  in_pass_ = counters_->begin_pass(most_calls_ + most_calls_ / 8 + 64, &why);
  if (in_pass_) {
    if (!books_.counters)
      books_.counters = CounterBooks{.chip = std::string(counters_->chip()), .first_step = step};
    return;
  }
  books_.notes.push_back(why);
  end_counting();
}

void DeviceTrace::end_step(int64_t step) {
  if (in_pass_) {
    device_.synchronize();
    in_pass_ = false;
    std::string why;
    if (!counters_->end_pass(&why)) {
      books_.notes.push_back(why);
      books_.counters.reset();
      end_counting();
      return;
    }
    ++books_.counters->n_passes;
    if (!counters_->complete()) return;
    int64_t n_dropped = 0;
    const std::vector<RangeValues> ranges = counters_->read(&n_dropped, &why);
    if (!why.empty()) {
      books_.notes.push_back(why);
      books_.counters.reset();
    } else {
      CounterBooks read = cupti::file_ranges(counters_->metrics(), ranges);
      read.chip = books_.counters->chip;
      read.n_passes = books_.counters->n_passes;
      read.first_step = books_.counters->first_step;
      read.n_dropped = n_dropped;
      books_.counters = std::move(read);
    }
    end_counting();
    return;
  }
  if (!tracer_.recording()) return;
  collect(true);
  books_.step = join(activity_, calls_, step);
  ++books_.steps_traced;
  books_.steps_that_differ += books_.step->calls_that_differ() > 0;
  books_.steps_incomplete += !books_.step->complete();
  calls_.clear();
}

void DeviceTrace::end_counting() {
  counters_ = nullptr;
  std::string why;
  if (!tracer_.start(&why)) books_.notes.push_back(why);
}

DeviceBooks DeviceTrace::finish() {
  if (tracer_.recording()) collect(false);
  if (counters_ && books_.counters) {
    books_.notes.push_back("the run ended before the counters' last pass");
    books_.counters.reset();
  }
  counters_ = nullptr;
  const DeviceMemory memory = tracer_.memory();
  const ArenaStats arena = device_.arena().stats();
  ClosureFigures figures;
  figures.used_now = memory.used_now;
  figures.used_before_context = memory.used_before_context;
  figures.used_after_context = memory.used_after_context;
  figures.requested = static_cast<int64_t>(arena.requested);
  figures.rounded = static_cast<int64_t>(arena.rounded);
  figures.reserved = static_cast<int64_t>(arena.reserved);
  if (running_) figures.grants = grants_.by_source();
  figures.own_source = own_source_;
  figures.tracer_bytes = memory.tracer_bytes;
  books_.closure = close_device(figures);
  if (grants_.n_unknown_releases() > 0)
    books_.notes.push_back(fmt::format("{} releases were of device memory granted before the tracer listened",
                                       grants_.n_unknown_releases()));
  tracer_.stop();
  running_ = false;
  const ObserverCost cost = tracer_.cost();
  books_.observer_host_bytes = cost.host_bytes;
  books_.observer_host_ns = cost.host_ns;
  return std::move(books_);
}

}  // namespace reckon::profiler
