#include "profiler/json.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "profiler/device_json.h"
#include "profiler/file.h"
#include "profiler/json_fields.h"
#include "runtime/core/error.h"

namespace reckon::profiler {
namespace {

const std::vector<std::string> kCellColumns{"op",       "module", "label",   "phase",
                                            "category", "bytes",  "rounded", "count"};
const std::vector<std::string> kLiveColumns{"id",       "op",   "module", "label",   "phase",
                                            "category", "step", "bytes",  "rounded", "kept"};
const std::vector<std::string> kSavedColumns{"op", "module", "category", "bytes", "count", "alias"};
const std::vector<std::string> kWorkColumns{
    "op",   "module",       "phase",        "calls",   "kernel",     "library",       "fill",
    "copy", "matmul_flops", "vector_flops", "special", "bytes_read", "bytes_written", "time_ns"};
const std::vector<std::string> kTimelineColumns{"event",     "t_ns",     "phase",   "parameter", "gradient",
                                                "optimizer", "saved",    "cast",    "transient", "workspace",
                                                "input",     "kv_cache", "reserved"};
const std::vector<std::string> kSeriesColumns{"step",
                                              "n_events",
                                              "duration_ns",
                                              "peak_bytes",
                                              "peak_reserved",
                                              "live_at_end",
                                              "saved_bytes",
                                              "n_launches",
                                              "matmul_flops",
                                              "vector_flops",
                                              "special",
                                              "bytes_read",
                                              "bytes_written",
                                              "recompute_matmul_flops",
                                              "recompute_vector_flops",
                                              "recompute_special",
                                              "recompute_bytes_read",
                                              "recompute_bytes_written"};
static_assert(kCategories == 9 && kLaunchKinds == 4, "the columns above name every category and launch kind");

template <class T>
std::string text(T value) {
  return std::string(name_of(value));
}

Json to_json(const Cost& c) {
  return {{"matmul_flops", c.matmul_flops},
          {"vector_flops", c.vector_flops},
          {"special", c.special},
          {"bytes_read", c.bytes_read},
          {"bytes_written", c.bytes_written}};
}

Cost cost_of(const Field& f) {
  return {f.at("matmul_flops").natural(), f.at("vector_flops").natural(), f.at("special").natural(),
          f.at("bytes_read").natural(), f.at("bytes_written").natural()};
}

Cost cost_in_row(const Field& row, size_t i) {
  return {row.item(i).natural(), row.item(i + 1).natural(), row.item(i + 2).natural(),
          row.item(i + 3).natural(), row.item(i + 4).natural()};
}

// Values of an array indexed by an enum, under the enum's names.
template <class E, class Array>
Json by_name(const Array& values) {
  Json out = Json::object();
  for (size_t i = 0; i < values.size(); ++i) out[text(static_cast<E>(i))] = values[i];
  return out;
}

template <class E, class Array>
void read_by_name(const Field& f, Array& values) {
  for (size_t i = 0; i < values.size(); ++i) values[i] = f.at(name_of(static_cast<E>(i))).integer();
}

// Sums of what a file claims: one that leaves 64 bits is as damaged as one that does not close.
class FileSum {
 public:
  explicit FileSum(const Field& where) : where_(where) {}
  FileSum& operator+=(int64_t n) {
    if (__builtin_add_overflow(sum_, n, &sum_)) where_.fail("numbers whose sum is below 2^63");
    return *this;
  }
  int64_t value() const { return sum_; }

 private:
  const Field& where_;
  int64_t sum_ = 0;
};

void add_flops(const Cost& c, FileSum& sum) { (sum += c.matmul_flops) += c.vector_flops; }

NameId name_in_row(const Field& row, size_t i) { return intern(row.item(i).text()); }

Json to_json(const StepBooks& b) {
  Json j;
  j["step"] = b.step;
  j["n_events"] = b.n_events;
  j["duration_ns"] = b.duration_ns;
  j["n_allocations"] = b.n_allocations;
  j["live_at_begin"] = b.live_at_begin;
  j["live_at_end"] = b.live_at_end;
  j["peak_bytes"] = b.peak_bytes;
  j["peak_rounded"] = b.peak_rounded;
  j["peak_reserved"] = b.peak_reserved;
  j["peak_at"] = {{"event", b.peak_at.event},
                  {"t_ns", b.peak_at.t_ns},
                  {"phase", text(b.peak_at.phase)},
                  {"op", text(b.peak_at.op)},
                  {"module", text(b.peak_at.module)}};
  j["peak_by_category"] = by_name<Category>(b.peak_by_category());
  j["max_rounded"] = b.max_rounded;
  j["max_reserved"] = b.max_reserved;
  j["max_by_category"] = by_name<Category>(b.max_by_category);
  j["max_by_phase"] = by_name<Phase>(b.max_by_phase);
  j["saved_bytes"] = b.saved_bytes;
  j["saved_alias_bytes"] = b.saved_alias_bytes;
  std::vector<Json> rows;
  for (const Cell& c : b.cells)
    rows.push_back({text(c.op), text(c.module), text(c.label), text(c.phase), text(c.category), c.bytes,
                    c.rounded, c.count});
  j["cells"] = table_json(kCellColumns, std::move(rows));
  rows.clear();
  j["n_live_at_peak"] = b.n_live_at_peak;
  for (const LiveBlock& l : b.largest)
    rows.push_back({l.id, text(l.op), text(l.module), text(l.label), text(l.phase), text(l.category), l.step,
                    l.bytes, l.rounded, l.saved});
  j["largest"] = table_json(kLiveColumns, std::move(rows));
  rows.clear();
  for (const SavedCell& c : b.saved)
    rows.push_back({text(c.op), text(c.module), text(c.category), c.bytes, c.count, c.alias});
  j["saved"] = table_json(kSavedColumns, std::move(rows));
  rows.clear();
  for (const WorkCell& w : b.work)
    rows.push_back({text(w.op), text(w.module), text(w.phase), w.calls, w.launches[0], w.launches[1],
                    w.launches[2], w.launches[3], w.cost.matmul_flops, w.cost.vector_flops, w.cost.special,
                    w.cost.bytes_read, w.cost.bytes_written, w.time_ns});
  j["work"] = table_json(kWorkColumns, std::move(rows));
  rows.clear();
  for (const TimelinePoint& p : b.timeline) {
    Json row{p.event, p.t_ns, text(p.phase)};
    for (int64_t n : p.bytes) row.push_back(n);
    row.push_back(p.reserved);
    rows.push_back(std::move(row));
  }
  j["timeline"] = table_json(kTimelineColumns, std::move(rows));
  return j;
}

StepBooks step_of(const Field& f) {
  StepBooks b;
  b.step = f.at("step").integer();
  b.n_events = f.at("n_events").natural();
  b.duration_ns = f.at("duration_ns").integer();
  b.n_allocations = f.at("n_allocations").natural();
  b.live_at_begin = f.at("live_at_begin").natural();
  b.live_at_end = f.at("live_at_end").natural();
  b.peak_bytes = f.at("peak_bytes").natural();
  b.peak_rounded = f.at("peak_rounded").natural();
  b.peak_reserved = f.at("peak_reserved").natural();
  const Field at = f.at("peak_at");
  b.peak_at = {at.at("event").integer(), at.at("t_ns").integer(), at.at("phase").one_of<Phase>(kPhases),
               intern(at.at("op").text()), intern(at.at("module").text())};
  b.max_rounded = f.at("max_rounded").natural();
  b.max_reserved = f.at("max_reserved").natural();
  read_by_name<Category>(f.at("max_by_category"), b.max_by_category);
  read_by_name<Phase>(f.at("max_by_phase"), b.max_by_phase);
  b.saved_bytes = f.at("saved_bytes").natural();
  b.saved_alias_bytes = f.at("saved_alias_bytes").natural();
  for (const Field& r : f.at("cells").rows(kCellColumns))
    b.cells.push_back({name_in_row(r, 0), name_in_row(r, 1), name_in_row(r, 2),
                       r.item(3).one_of<Phase>(kPhases), r.item(4).one_of<Category>(kCategories),
                       r.item(5).natural(), r.item(6).natural(), r.item(7).natural()});
  b.n_live_at_peak = f.at("n_live_at_peak").natural();
  for (const Field& r : f.at("largest").rows(kLiveColumns))
    b.largest.push_back({r.item(0).integer(), name_in_row(r, 1), name_in_row(r, 2), name_in_row(r, 3),
                         r.item(4).one_of<Phase>(kPhases), r.item(5).one_of<Category>(kCategories),
                         r.item(6).integer(), r.item(7).natural(), r.item(8).natural(), r.item(9).boolean()});
  for (const Field& r : f.at("saved").rows(kSavedColumns))
    b.saved.push_back({name_in_row(r, 0), name_in_row(r, 1), r.item(2).one_of<Category>(kCategories),
                       r.item(3).natural(), r.item(4).natural(), r.item(5).boolean()});
  for (const Field& r : f.at("work").rows(kWorkColumns))
    b.work.push_back({name_in_row(r, 0),
                      name_in_row(r, 1),
                      r.item(2).one_of<Phase>(kPhases),
                      r.item(3).natural(),
                      {r.item(4).natural(), r.item(5).natural(), r.item(6).natural(), r.item(7).natural()},
                      cost_in_row(r, 8),
                      r.item(13).integer()});
  for (const Field& r : f.at("timeline").rows(kTimelineColumns)) {
    TimelinePoint p{r.item(0).integer(), r.item(1).integer(), r.item(2).one_of<Phase>(kPhases)};
    for (size_t c = 0; c < kCategories; ++c) p.bytes[c] = r.item(3 + c).natural();
    p.reserved = r.item(3 + kCategories).natural();
    b.timeline.push_back(p);
  }
  // The books must still close: a file that was edited or cut is not worth reading on.
  FileSum bytes(f), rounded(f), kept(f), flops(f), launches(f);
  for (const Cell& c : b.cells) bytes += c.bytes, rounded += c.rounded;
  for (const SavedCell& c : b.saved) kept += c.alias ? 0 : c.bytes;
  const auto closes = [&](std::string_view key, int64_t claimed, const FileSum& sum) {
    if (claimed != sum.value()) f.at(key).fail(fmt::format("the sum of its cells, {}", sum.value()));
  };
  closes("peak_bytes", b.peak_bytes, bytes);
  closes("peak_rounded", b.peak_rounded, rounded);
  closes("saved_bytes", b.saved_bytes, kept);
  for (const WorkCell& w : b.work) {
    add_flops(w.cost, flops);
    for (int64_t n : w.launches) launches += n;
  }
  return b;
}

// Derived figures for readers of the file; not read back.
Json summary(const RunBooks& b) {
  Json j;
  if (!b.highest && !b.init) return j;
  const StepBooks& m = b.for_memory();
  j["peak_bytes"] = m.peak_bytes;
  j["peak_rounded"] = m.peak_rounded;
  j["peak_reserved"] = m.peak_reserved;
  j["peak_step"] = m.step;
  j["peak_by_category"] = by_name<Category>(m.peak_by_category());
  j["saved_bytes"] = m.saved_bytes;
  const StepBooks& w = b.for_work();
  const FlopSplit f = split_flops(w.cost_by_phase());
  j["flops_of_last_step"] = {{"model", f.model},
                             {"optimizer", f.optimizer},
                             {"recompute", f.recompute},
                             {"other", f.other},
                             {"executed", f.executed()}};
  j["launches_of_last_step"] = by_name<LaunchKind>(w.launches_by_kind());
  return j;
}

Json optional_books(const std::optional<StepBooks>& b) { return b ? to_json(*b) : Json(nullptr); }

Json to_json(const RunBooks& b) {
  Json j;
  j["n_events"] = b.n_events;
  j["n_unknown_blocks"] = b.n_unknown_blocks;
  j["launches"] = by_name<LaunchKind>(b.launches);
  Json cost = Json::object();
  for (size_t p = 0; p < kPhases; ++p) cost[text(static_cast<Phase>(p))] = to_json(b.cost[p]);
  j["cost"] = cost;
  std::vector<Json> rows;
  for (const StepLine& s : b.series) {
    Json row{s.step,          s.n_events,    s.duration_ns, s.peak_bytes,
             s.peak_reserved, s.live_at_end, s.saved_bytes, s.n_launches};
    for (const Cost& c : {s.cost, s.recompute})
      for (int64_t n : {c.matmul_flops, c.vector_flops, c.special, c.bytes_read, c.bytes_written})
        row.push_back(n);
    rows.push_back(std::move(row));
  }
  j["series"] = table_json(kSeriesColumns, std::move(rows));
  j["init"] = optional_books(b.init);
  j["between"] = optional_books(b.between);
  j["first"] = optional_books(b.first);
  j["last"] = optional_books(b.last);
  j["highest"] = optional_books(b.highest);
  return j;
}

RunBooks books_in(const Field& f) {
  RunBooks b;
  b.n_events = f.at("n_events").natural();
  b.n_unknown_blocks = f.at("n_unknown_blocks").natural();
  read_by_name<LaunchKind>(f.at("launches"), b.launches);
  for (size_t p = 0; p < kPhases; ++p) b.cost[p] = cost_of(f.at("cost").at(name_of(static_cast<Phase>(p))));
  for (const Field& r : f.at("series").rows(kSeriesColumns))
    b.series.push_back({r.item(0).integer(), r.item(1).natural(), r.item(2).integer(), r.item(3).natural(),
                        r.item(4).natural(), r.item(5).natural(), r.item(6).natural(), r.item(7).natural(),
                        cost_in_row(r, 8), cost_in_row(r, 13)});
  const auto read = [&](std::string_view key, std::optional<StepBooks>& out) {
    if (!f.at(key).json().is_null()) out = step_of(f.at(key));
  };
  read("init", b.init);
  read("between", b.between);
  read("first", b.first);
  read("last", b.last);
  read("highest", b.highest);
  return b;
}

Json to_json(const ProcessBooks& p) {
  return {{"requested", p.requested},
          {"rounded", p.rounded},
          {"reserved", p.reserved},
          {"resident", p.resident},
          {"rss", p.rss},
          {"rss_anon", p.rss_anon},
          {"rss_file", p.rss_file},
          {"rss_shmem", p.rss_shmem},
          {"rss_peak", p.rss_peak},
          {"observer", p.observer}};
}

ProcessBooks process_of(const Field& f) {
  return {f.at("requested").natural(), f.at("rounded").natural(),   f.at("reserved").natural(),
          f.at("resident").integer(),  f.at("rss").integer(),       f.at("rss_anon").integer(),
          f.at("rss_file").integer(),  f.at("rss_shmem").integer(), f.at("rss_peak").integer(),
          f.at("observer").integer()};
}

// The bits decide; the number beside them is for people (null when it is not finite).
Json loss_json(double loss) {
  return {std::isfinite(loss) ? Json(loss) : Json(nullptr),
          fmt::format("{:016x}", std::bit_cast<uint64_t>(loss))};
}

double loss_of(const Field& f) {
  const std::string& bits = f.item(1).text();
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(bits.data(), bits.data() + bits.size(), value, 16);
  if (error != std::errc{} || end != bits.data() + bits.size() || bits.size() != 16)
    f.item(1).fail("16 hexadecimal digits");
  return std::bit_cast<double>(value);
}

}  // namespace

std::string to_json(const RunRecord& run) {
  Json j;
  j["reckon_schema"] = kRunSchema;
  Json config = Json::object();
  for (const auto& [key, value] : run.config.entries) config[key] = value;
  j["config"] = config;
  j["summary"] = summary(run.books);
  Json losses = Json::array();
  for (double loss : run.losses) losses.push_back(loss_json(loss));
  j["losses"] = losses;
  j["process"] = run.process ? to_json(*run.process) : Json(nullptr);
  j["device"] = run.device ? to_json(*run.device) : Json(nullptr);
  j["books"] = to_json(run.books);
  return to_text(j);
}

RunRecord run_from_json(std::string_view text, std::string_view origin) {
  const Json j = parse_json(text, origin);
  const Field f(j, "", origin);
  RECKON_CHECK(j.is_object() && j.contains("reckon_schema"),
               "{} is JSON, but not a run of reckon: it has no 'reckon_schema'", origin);
  const int64_t schema = f.at("reckon_schema").integer();
  RECKON_CHECK(schema == kRunSchema,
               "{} has schema {}, this program reads {}: write it again with this version", origin, schema,
               kRunSchema);
  RunRecord run;
  const Field config = f.at("config");
  if (!config.json().is_object()) config.fail("an object");
  for (const auto& [key, value] : config.json().items())
    run.config.entries.emplace_back(key, config.at(key).text());
  const Field losses = f.at("losses");
  for (size_t i = 0; i < losses.size(); ++i) run.losses.push_back(loss_of(losses.item(i)));
  if (!f.at("process").json().is_null()) run.process = process_of(f.at("process"));
  if (f.has("device")) run.device = device_of(f.at("device"));  // older files have none
  run.books = books_in(f.at("books"));
  return run;
}

namespace {

std::string file_in(const std::string& path) {
  std::error_code error;  // of a path that cannot be: reading it says so
  return std::filesystem::is_directory(path, error) ? (std::filesystem::path(path) / "run.json").string()
                                                    : path;
}

}  // namespace

void save_run(const std::string& path, const RunRecord& run) { write_file(file_in(path), to_json(run)); }

RunRecord load_run(const std::string& path) {
  const std::string file = file_in(path);
  return run_from_json(read_file(file), file);
}

}  // namespace reckon::profiler
