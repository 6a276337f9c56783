#include "profiler/trace.h"

#include <vector>

#include "profiler/file.h"
#include "profiler/json_fields.h"
#include "profiler/replay.h"
#include "runtime/core/error.h"

namespace reckon::profiler {
namespace {

constexpr int kProcess = 1;
constexpr int kStepTrack = 1;
constexpr int track_of(Phase p) { return 2 + static_cast<int>(p); }

class TraceWriter {
 public:
  explicit TraceWriter(int64_t t0) : t0_(t0) {}

  void name_tracks() {
    add({{"ph", "M"}, {"name", "process_name"}, {"pid", kProcess}, {"args", {{"name", "reckon"}}}});
    name_track(kStepTrack, "steps");
    for (int p = 0; p < kPhases; ++p)
      name_track(track_of(static_cast<Phase>(p)), std::string(name_of(static_cast<Phase>(p))));
  }
  void slice(std::string name, std::string_view category, int track, int64_t begin, int64_t end, Json args) {
    add({{"ph", "X"},
         {"name", std::move(name)},
         {"cat", category},
         {"pid", kProcess},
         {"tid", track},
         {"ts", at(begin)},
         {"dur", static_cast<double>(end - begin) * 1e-3},
         {"args", std::move(args)}});
  }
  void counter(std::string_view name, int64_t t, Json args) {
    add({{"ph", "C"}, {"name", name}, {"pid", kProcess}, {"ts", at(t)}, {"args", std::move(args)}});
  }
  std::string finish() { return "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n" + rows_ + "\n]}\n"; }

 private:
  double at(int64_t t) const { return static_cast<double>(t - t0_) * 1e-3; }  // us
  void add(const Json& row) {
    if (!rows_.empty()) rows_ += ",\n";
    rows_ += row.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  void name_track(int track, std::string name) {
    add({{"ph", "M"},
         {"name", "thread_name"},
         {"pid", kProcess},
         {"tid", track},
         {"args", {{"name", std::move(name)}}}});
    add({{"ph", "M"},
         {"name", "thread_sort_index"},
         {"pid", kProcess},
         {"tid", track},
         {"args", {{"sort_index", track}}}});
  }

  int64_t t0_;
  std::string rows_;
};

struct OpenOp {
  Event begin;
  int64_t launches = 0;
};

}  // namespace

std::string trace_json(std::span<const Event> events) {
  RECKON_CHECK(!events.empty(), "a trace needs events: none were kept (keep_events of the ledger)");
  TraceWriter out(events.front().t_ns);
  out.name_tracks();
  Replay state;
  std::vector<OpenOp> ops;
  int64_t step_begin = events.front().t_ns;
  for (const Event& e : events) {
    state.apply(e);
    switch (e.kind) {
      case EventKind::op_begin:
        ops.push_back({e});
        break;
      case EventKind::launched:
        if (!ops.empty()) ++ops.back().launches;
        break;
      case EventKind::op_end: {
        // An op left by an exception has no end and draws nothing.
        while (!ops.empty() && (ops.back().begin.op != e.op || ops.back().begin.module != e.module))
          ops.pop_back();
        if (ops.empty()) break;
        const OpenOp& op = ops.back();
        out.slice(std::string(name_of(e.op)), name_of(e.phase), track_of(e.phase), op.begin.t_ns, e.t_ns,
                  {{"module", name_of(e.module)},
                   {"phase", name_of(e.phase)},
                   {"step", e.step},
                   {"launches", op.launches},
                   {"matmul_flops", e.cost.matmul_flops},
                   {"vector_flops", e.cost.vector_flops},
                   {"special", e.cost.special},
                   {"bytes_read", e.cost.bytes_read},
                   {"bytes_written", e.cost.bytes_written}});
        ops.pop_back();
        break;
      }
      case EventKind::step_begin:
        step_begin = e.t_ns;
        break;
      case EventKind::step_end:
        out.slice("step " + std::to_string(e.step), "step", kStepTrack, step_begin, e.t_ns, {{"step", e.step}});
        break;
      default:
        break;
    }
    if (!changes_memory(e.kind)) continue;
    Json bytes = Json::object();
    for (size_t c = 0; c < kCategories; ++c)
      bytes[std::string(name_of(static_cast<Category>(c)))] = state.by_category[c];
    out.counter("live bytes", e.t_ns, std::move(bytes));
    if (e.kind == EventKind::segment_acquired || e.kind == EventKind::segment_released)
      out.counter("reserved bytes", e.t_ns, {{"reserved", state.reserved}});
  }
  return out.finish();
}

void write_trace(const std::string& path, std::span<const Event> events) {
  write_file(path, trace_json(events));
}

}  // namespace reckon::profiler
