// The columns of what was seen of a device. Reading checks that lists refer to what is
// there and that the closure closes.
#include <fmt/format.h>

#include "profiler/book_columns.h"
#include "runtime/core/format.h"

namespace reckon::profiler {
namespace {

using enum Format;
using enum Origin;
using enum Place;

std::string differs_text(const DeviceCell& c) {
  if (c.calls_that_differ == 0) return "";
  return fmt::format("DIFFERS in {} call{}", format_count(c.calls_that_differ),
                     c.calls_that_differ == 1 ? "" : "s");
}

// The device time of launches, of which some or all may have no times.
template <class T>
Columns<T> device_time(int64_t (*seen)(const T&)) {
  return {"device_time",
          [seen](const T& row) -> std::string {
            if (seen(row) > 0 && row.untimed == seen(row)) return "not collected";
            return number_text(row.device_ns, Format::time) + (row.untimed > 0 ? " +" : "");
          },
          {.mark = measured, .sum = Sum::derived, .place = text, .right = true}};
}

const std::vector<std::string> kRanColumns{"cell", "kernel"};
const Columns<Product> product_columns{
    {"m", &Product::m},         {"n", &Product::n},         {"k", &Product::k},
    {"batch", &Product::batch}, {"count", &Product::count},
};

struct CellProduct {
  int64_t cell = 0;
  Product product;
};
const Columns<CellProduct> cell_product_columns{
    {"cell", &CellProduct::cell},
    inside<CellProduct>(&CellProduct::product, product_columns),
};

Json cell_kernels_json(const DeviceStep& s) {
  std::vector<Json> rows;
  for (size_t i = 0; i < s.cells.size(); ++i)
    for (int32_t k : s.cells[i].kernels) rows.push_back({i, k});
  return table_json(kRanColumns, std::move(rows));
}

Json cell_products_json(const DeviceStep& s) {
  std::vector<CellProduct> rows;
  for (size_t i = 0; i < s.cells.size(); ++i)
    for (const Product& p : s.cells[i].products) rows.push_back({static_cast<int64_t>(i), p});
  return table_json(cell_product_columns, rows);
}

size_t index_of(const Field& f, size_t size) {
  const int64_t i = f.natural();
  if (i >= static_cast<int64_t>(size)) f.fail(fmt::format("an index below {}", size));
  return static_cast<size_t>(i);
}

void read_cell_kernels(const Field& f, DeviceStep& s) {
  for (const Field& r : f.rows(kRanColumns))
    s.cells[index_of(r.item(0), s.cells.size())].kernels.push_back(
        static_cast<int32_t>(index_of(r.item(1), s.kernels.size())));
}

void read_cell_products(const Field& f, DeviceStep& s) {
  const std::vector<CellProduct> rows = read_table(cell_product_columns, f);
  for (size_t i = 0; i < rows.size(); ++i) {
    const Field row = f.at("rows").item(i);
    const Product& p = rows[i].product;
    int64_t flops = 2;
    for (int64_t n : {p.m, p.n, p.k, p.batch, p.count})
      if (n > (int64_t{1} << 40) || __builtin_mul_overflow(flops, n, &flops))
        row.fail("a product whose FLOPs are below 2^63");
    s.cells[index_of(row.item(0), s.cells.size())].products.push_back(p);
  }
}

}  // namespace

const Columns<DeviceCell> TableOf<DeviceCell>::columns{
    {"op", &DeviceCell::op, {.absent = "(no op)"}},
    {"module", &DeviceCell::module, {.place = file}},
    {"phase", &DeviceCell::phase},
    {"calls", &DeviceCell::calls, {.mark = counted}},
    inside<DeviceCell>(&DeviceCell::announced, named_by<LaunchKind, int64_t>({.place = file})),
    {"planned = made", &DeviceCell::announced_directly, {.mark = counted, .place = text}},
    {"own_kernels", &DeviceCell::own_kernels, {.mark = measured}},
    {"library calls",
     [](const DeviceCell& c) { return c.announced[static_cast<size_t>(LaunchKind::library)]; },
     {.mark = counted, .place = text}},
    {"library_kernels", &DeviceCell::library_kernels, {.mark = measured}},
    {"copies_seen", &DeviceCell::copies, {.place = file}},
    {"sets", &DeviceCell::sets, {.place = file}},
    {"copies, sets", [](const DeviceCell& c) { return c.copies + c.sets; }, {.mark = measured, .place = text}},
    {"calls_that_differ", &DeviceCell::calls_that_differ, {.place = file}},
    {"device_ns", &DeviceCell::device_ns, {.place = file}},
    {"untimed", &DeviceCell::untimed, {.place = file}},
    device_time<DeviceCell>([](const DeviceCell& c) { return c.seen(); }),
    share(&DeviceCell::device_ns),
    {"differs", differs_text, {.heading = " ", .sum = Sum::derived, .place = text}},
};

const Columns<KernelLine> TableOf<KernelLine>::columns{
    {"name", &KernelLine::name, {.place = file}},
    {"kernel", [](const KernelLine& k) { return short_kernel_name(k.name); }, {.place = text}},
    {"own", &KernelLine::own, {.place = file}},
    {"whose", [](const KernelLine& k) { return k.own ? "own" : "library"; }, {.place = text}},
    {"count", &KernelLine::count, {.heading = "seen", .mark = measured}},
    {"device_ns", &KernelLine::device_ns, {.place = file}},
    {"untimed", &KernelLine::untimed, {.place = file}},
    device_time<KernelLine>([](const KernelLine& k) { return k.count; }),
};

const Columns<UnfiledLine> TableOf<UnfiledLine>::columns{
    {"what", &UnfiledLine::what, {.place = file}},
    {"short_name",
     [](const UnfiledLine& u) { return short_kernel_name(u.what); },
     {.heading = "what", .place = text}},
    {"count", &UnfiledLine::count, {.heading = "seen", .mark = measured}},
    {"bytes", &UnfiledLine::bytes, {.place = file}},
    {"bytes_moved",
     [](const UnfiledLine& u) { return u.bytes ? format_count(u.bytes) : ""; },
     {.heading = "bytes", .mark = measured, .sum = Sum::derived, .place = text, .right = true}},
    {"device_ns", &UnfiledLine::device_ns, {.place = file}},
    {"untimed", &UnfiledLine::untimed, {.place = file}},
    device_time<UnfiledLine>([](const UnfiledLine& u) { return u.count; }),
};

const Columns<DeviceStep> TableOf<DeviceStep>::columns{
    {"step", &DeviceStep::step, {.negative = true}},
    {"complete", &DeviceStep::complete},
    {"n_dropped", &DeviceStep::n_dropped},
    {"n_damaged", &DeviceStep::n_damaged},
    {"n_unknown", &DeviceStep::n_unknown},
    {"n_ambiguous", &DeviceStep::n_ambiguous},
    {"busy_ns", &DeviceStep::busy_ns},
    {"cells", &DeviceStep::cells},
    {"kernels", &DeviceStep::kernels},
    by_hand<DeviceStep>("cell_kernels", cell_kernels_json, read_cell_kernels),
    by_hand<DeviceStep>("products", cell_products_json, read_cell_products),
    {"outside_of_ops", &DeviceStep::unfiled},
};

void TableOf<DeviceStep>::check(const Field& f, DeviceStep& s) {
  int64_t sum = 0;
  check_sums(TableOf<DeviceCell>::columns, f.at("cells"), s.cells, sum);
  check_sums(TableOf<KernelLine>::columns, f.at("kernels"), s.kernels, sum);
  check_sums(TableOf<UnfiledLine>::columns, f.at("outside_of_ops"), s.unfiled, sum);
}

const Columns<ClosureLine> TableOf<ClosureLine>::columns{
    {"line", &ClosureLine::name, {.heading = " "}},
    {"bytes", &ClosureLine::bytes, {.negative = true}},
    {"short_bytes",
     [](const ClosureLine& l) { return l.bytes ? number_text(*l.bytes, Format::bytes) : std::string(); },
     {.heading = " ", .place = text, .right = true}},
    {"origin", &ClosureLine::origin, {.place = file}},
    {"mark",
     [](const ClosureLine& l) { return l.bytes ? mark_of(l.origin) : ""; },
     {.heading = "origin", .place = text}},
    {"note", &ClosureLine::note, {.heading = " "}},
};

const Columns<DeviceClosure> TableOf<DeviceClosure>::columns{
    {"used", &DeviceClosure::used, {.negative = true}},
    {"unexplained", &DeviceClosure::unexplained, {.negative = true}},
    {"lines", &DeviceClosure::lines},
};

void TableOf<DeviceClosure>::check(const Field& f, DeviceClosure& c) {
  int64_t sum = 0, all = 0;
  check_sums(TableOf<ClosureLine>::columns, f.at("lines"), c.lines, sum);
  for (const ClosureLine& l : c.lines) c.has_unknown_lines |= !l.bytes;
  if (c.used.has_value() != c.unexplained.has_value())
    f.at("unexplained").fail("a number when 'used' is one, else null");
  if (c.used && (__builtin_add_overflow(sum, *c.unexplained, &all) || all != *c.used))
    f.at("used").fail(fmt::format("the sum of its lines, {}", all));
}

const Columns<CountedWork> TableOf<CountedWork>::columns{
    {"op", &CountedWork::op},
    {"module", &CountedWork::module},
    {"phase", &CountedWork::phase},
    {"tensor_bf16", &CountedWork::tensor_bf16},
    {"tensor_f16", &CountedWork::tensor_f16},
    {"tensor_tf32", &CountedWork::tensor_tf32},
    {"scalar", &CountedWork::scalar},
    {"special", &CountedWork::special},
    {"dram_read", &CountedWork::dram_read},
    {"dram_written", &CountedWork::dram_written},
    {"l2_bytes", &CountedWork::l2_bytes},
    {"time_ns", &CountedWork::time_ns},
};

const Columns<CounterBooks> TableOf<CounterBooks>::columns{
    {"chip", &CounterBooks::chip},
    {"n_passes", &CounterBooks::n_passes},
    {"first_step", &CounterBooks::first_step},
    {"joint_tensor_types", &CounterBooks::joint_tensor_types},
    {"half_weights_assumed", &CounterBooks::half_weights_assumed},
    {"n_dropped", &CounterBooks::n_dropped},
    {"n_unfiled", &CounterBooks::n_unfiled},
    {"work", &CounterBooks::work},
};

void TableOf<CounterBooks>::check(const Field& f, CounterBooks& b) {
  int64_t sum = 0;
  check_sums(TableOf<CountedWork>::columns, f.at("work"), b.work, sum);
}

const Columns<DeviceBooks> TableOf<DeviceBooks>::columns{
    {"tracer", &DeviceBooks::tracer},
    {"steps_traced", &DeviceBooks::steps_traced},
    {"steps_that_differ", &DeviceBooks::steps_that_differ},
    {"steps_incomplete", &DeviceBooks::steps_incomplete},
    {"step", &DeviceBooks::step, {.may_lack = true}},
    {"closure", &DeviceBooks::closure, {.may_lack = true}},
    {"counters", &DeviceBooks::counters, {.may_lack = true}},
    object<DeviceBooks>("observer", std::identity{},
                        Columns<DeviceBooks>{
                            {"host_bytes", &DeviceBooks::observer_host_bytes},
                            {"host_ns", &DeviceBooks::observer_host_ns},
                            {"tracer_overhead_ns", &DeviceBooks::tracer_overhead_ns},
                            {"module_loading_ns", &DeviceBooks::module_loading_ns},
                        }),
    {"notes", &DeviceBooks::notes},
};

}  // namespace reckon::profiler
