#include "profiler/device_json.h"

#include <fmt/format.h>

namespace reckon::profiler {
namespace {

const std::vector<std::string> kCellColumns{
    "op",     "module",      "phase",           "calls",       "kernel", "library",           "fill",
    "copy",   "own_kernels", "library_kernels", "copies_seen", "sets",   "calls_that_differ", "device_ns",
    "untimed"};
const std::vector<std::string> kKernelColumns{"name", "own", "count", "device_ns", "untimed"};
const std::vector<std::string> kRanColumns{"cell", "kernel"};
const std::vector<std::string> kProductColumns{"cell", "m", "n", "k", "batch", "count"};
const std::vector<std::string> kUnfiledColumns{"what", "count", "bytes", "device_ns", "untimed"};
const std::vector<std::string> kClosureColumns{"line", "bytes", "origin", "note"};
const std::vector<std::string> kCountedColumns{"op",         "module",       "phase",    "tensor_bf16",
                                               "tensor_f16", "tensor_tf32",  "scalar",   "special",
                                               "dram_read",  "dram_written", "l2_bytes", "time_ns"};
static_assert(kLaunchKinds == 4, "the columns above name every launch kind");

template <class T>
std::string text(T value) {
  return std::string(name_of(value));
}

Json optional_json(const std::optional<int64_t>& n) { return n ? Json(*n) : Json(nullptr); }
std::optional<int64_t> optional_of(const Field& f) {
  return f.json().is_null() ? std::nullopt : std::optional(f.integer());
}

NameId name_in(const Field& row, size_t i) { return intern(row.item(i).text()); }

// Reports add these up: what leaves 64 bits is damage. Negative numbers are refused by natural().
class Sum {
 public:
  int64_t natural(const Field& f) {
    const int64_t n = f.natural();
    if (__builtin_add_overflow(sum_, n, &sum_)) f.fail("numbers whose sum is below 2^63");
    return n;
  }

 private:
  int64_t sum_ = 0;
};

Product product_of(const Field& row) {
  const Product p{row.item(1).natural(), row.item(2).natural(), row.item(3).natural(), row.item(4).natural(),
                  row.item(5).natural()};
  int64_t flops = 2;
  for (int64_t n : {p.m, p.n, p.k, p.batch, p.count})
    if (n > (int64_t{1} << 40) || __builtin_mul_overflow(flops, n, &flops))
      row.fail("a product whose FLOPs are below 2^63");
  return p;
}

Json to_json(const DeviceStep& s) {
  std::vector<Json> cells, ran, products, kernels, unfiled;
  for (size_t i = 0; i < s.cells.size(); ++i) {
    const DeviceCell& c = s.cells[i];
    cells.push_back({text(c.op), text(c.module), text(c.phase), c.calls, c.announced[0], c.announced[1],
                     c.announced[2], c.announced[3], c.own_kernels, c.library_kernels, c.copies, c.sets,
                     c.calls_that_differ, c.device_ns, c.untimed});
    for (int32_t k : c.kernels) ran.push_back({i, k});
    for (const Product& p : c.products) products.push_back({i, p.m, p.n, p.k, p.batch, p.count});
  }
  for (const KernelLine& k : s.kernels) kernels.push_back({k.name, k.own, k.count, k.device_ns, k.untimed});
  for (const UnfiledLine& u : s.unfiled) unfiled.push_back({u.what, u.count, u.bytes, u.device_ns, u.untimed});
  Json j;
  j["step"] = s.step;
  j["complete"] = s.complete();
  j["n_dropped"] = s.n_dropped;
  j["n_damaged"] = s.n_damaged;
  j["n_unknown"] = s.n_unknown;
  j["n_ambiguous"] = s.n_ambiguous;
  j["busy_ns"] = s.busy_ns;
  j["cells"] = table_json(kCellColumns, std::move(cells));
  j["kernels"] = table_json(kKernelColumns, std::move(kernels));
  j["cell_kernels"] = table_json(kRanColumns, std::move(ran));
  j["products"] = table_json(kProductColumns, std::move(products));
  j["outside_of_ops"] = table_json(kUnfiledColumns, std::move(unfiled));
  return j;
}

DeviceStep step_of(const Field& f) {
  DeviceStep s;
  Sum sum;
  s.step = f.at("step").integer();
  s.n_dropped = f.at("n_dropped").natural();
  s.n_damaged = f.at("n_damaged").natural();
  s.n_unknown = f.at("n_unknown").natural();
  s.n_ambiguous = f.at("n_ambiguous").natural();
  s.busy_ns = f.at("busy_ns").natural();
  for (const Field& r : f.at("cells").rows(kCellColumns)) {
    DeviceCell c{.op = name_in(r, 0),
                 .module = name_in(r, 1),
                 .phase = r.item(2).one_of<Phase>(kPhases),
                 .calls = sum.natural(r.item(3))};
    for (size_t k = 0; k < kLaunchKinds; ++k) c.announced[k] = sum.natural(r.item(4 + k));
    size_t i = 4 + kLaunchKinds;
    for (int64_t* n : {&c.own_kernels, &c.library_kernels, &c.copies, &c.sets, &c.calls_that_differ,
                       &c.device_ns, &c.untimed})
      *n = sum.natural(r.item(i++));
    s.cells.push_back(std::move(c));
  }
  for (const Field& r : f.at("kernels").rows(kKernelColumns))
    s.kernels.push_back({r.item(0).text(), r.item(1).boolean(), sum.natural(r.item(2)), sum.natural(r.item(3)),
                         sum.natural(r.item(4))});
  const auto index = [](const Field& f, size_t size) {
    const int64_t i = f.natural();
    if (i >= static_cast<int64_t>(size)) f.fail(fmt::format("an index below {}", size));
    return static_cast<size_t>(i);
  };
  for (const Field& r : f.at("cell_kernels").rows(kRanColumns))
    s.cells[index(r.item(0), s.cells.size())].kernels.push_back(
        static_cast<int32_t>(index(r.item(1), s.kernels.size())));
  for (const Field& r : f.at("products").rows(kProductColumns))
    s.cells[index(r.item(0), s.cells.size())].products.push_back(product_of(r));
  for (const Field& r : f.at("outside_of_ops").rows(kUnfiledColumns))
    s.unfiled.push_back({r.item(0).text(), sum.natural(r.item(1)), sum.natural(r.item(2)),
                         sum.natural(r.item(3)), sum.natural(r.item(4))});
  return s;
}

DeviceClosure closure_of(const Field& f) {
  DeviceClosure c;
  c.used = optional_of(f.at("used"));
  c.unexplained = optional_of(f.at("unexplained"));
  int64_t sum = 0;
  for (const Field& r : f.at("lines").rows(kClosureColumns)) {
    c.lines.push_back(
        {r.item(0).text(), optional_of(r.item(1)), r.item(2).one_of<Origin>(kOrigins), r.item(3).text()});
    c.has_unknown_lines |= !c.lines.back().bytes;
    if (__builtin_add_overflow(sum, c.lines.back().bytes.value_or(0), &sum))
      r.fail("numbers whose sum is below 2^63");
  }
  if (c.used.has_value() != c.unexplained.has_value())
    f.at("unexplained").fail("a number when 'used' is one, else null");
  int64_t all = 0;
  if (c.used && (__builtin_add_overflow(sum, *c.unexplained, &all) || all != *c.used))
    f.at("used").fail(fmt::format("the sum of its lines, {}", all));
  return c;
}

Json to_json(const CounterBooks& b) {
  std::vector<Json> rows;
  for (const CountedWork& w : b.work) {
    Json row{text(w.op), text(w.module), text(w.phase)};
    for (const auto& n : {w.tensor_bf16, w.tensor_f16, w.tensor_tf32, w.scalar, w.special, w.dram_read,
                          w.dram_written, w.l2_bytes, w.time_ns})
      row.push_back(optional_json(n));
    rows.push_back(std::move(row));
  }
  return {{"chip", b.chip},
          {"n_passes", b.n_passes},
          {"first_step", b.first_step},
          {"joint_tensor_types", b.joint_tensor_types},
          {"half_weights_assumed", b.half_weights_assumed},
          {"n_dropped", b.n_dropped},
          {"n_unfiled", b.n_unfiled},
          {"work", table_json(kCountedColumns, std::move(rows))}};
}

CounterBooks counters_of(const Field& f) {
  CounterBooks b;
  b.chip = f.at("chip").text();
  b.n_passes = f.at("n_passes").natural();
  b.first_step = f.at("first_step").natural();
  b.joint_tensor_types = f.at("joint_tensor_types").boolean();
  b.half_weights_assumed = f.at("half_weights_assumed").boolean();
  b.n_dropped = f.at("n_dropped").natural();
  b.n_unfiled = f.at("n_unfiled").natural();
  Sum sum;
  for (const Field& r : f.at("work").rows(kCountedColumns)) {
    CountedWork w{.op = name_in(r, 0), .module = name_in(r, 1), .phase = r.item(2).one_of<Phase>(kPhases)};
    size_t i = 3;
    for (auto* n : {&w.tensor_bf16, &w.tensor_f16, &w.tensor_tf32, &w.scalar, &w.special, &w.dram_read,
                    &w.dram_written, &w.l2_bytes, &w.time_ns})
      if (const Field value = r.item(i++); !value.json().is_null()) *n = sum.natural(value);
    b.work.push_back(w);
  }
  return b;
}

}  // namespace

Json to_json(const DeviceClosure& c) {
  std::vector<Json> rows;
  for (const ClosureLine& l : c.lines) rows.push_back({l.name, optional_json(l.bytes), text(l.origin), l.note});
  return {{"used", optional_json(c.used)},
          {"unexplained", optional_json(c.unexplained)},
          {"lines", table_json(kClosureColumns, std::move(rows))}};
}

Json to_json(const DeviceBooks& d) {
  Json j;
  j["tracer"] = d.tracer;
  j["steps_traced"] = d.steps_traced;
  j["steps_that_differ"] = d.steps_that_differ;
  j["steps_incomplete"] = d.steps_incomplete;
  j["step"] = d.step ? to_json(*d.step) : Json(nullptr);
  j["closure"] = d.closure ? to_json(*d.closure) : Json(nullptr);
  j["counters"] = d.counters ? to_json(*d.counters) : Json(nullptr);
  j["observer"] = {{"host_bytes", d.observer_host_bytes},
                   {"host_ns", d.observer_host_ns},
                   {"tracer_overhead_ns", d.tracer_overhead_ns},
                   {"module_loading_ns", d.module_loading_ns}};
  j["notes"] = Json::array();
  for (const std::string& note : d.notes) j["notes"].push_back(note);
  return j;
}

DeviceBooks device_of(const Field& f) {
  DeviceBooks d;
  d.tracer = f.at("tracer").text();
  d.steps_traced = f.at("steps_traced").natural();
  d.steps_that_differ = f.at("steps_that_differ").natural();
  d.steps_incomplete = f.at("steps_incomplete").natural();
  if (f.has("step")) d.step = step_of(f.at("step"));
  if (f.has("closure")) d.closure = closure_of(f.at("closure"));
  if (f.has("counters")) d.counters = counters_of(f.at("counters"));
  const Field observer = f.at("observer");
  d.observer_host_bytes = observer.at("host_bytes").natural();
  d.observer_host_ns = observer.at("host_ns").natural();
  d.tracer_overhead_ns = observer.at("tracer_overhead_ns").natural();
  d.module_loading_ns = observer.at("module_loading_ns").natural();
  const Field notes = f.at("notes");
  for (size_t i = 0; i < notes.size(); ++i) d.notes.push_back(notes.item(i).text());
  return d;
}

}  // namespace reckon::profiler
