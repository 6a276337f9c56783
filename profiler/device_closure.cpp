#include "profiler/device_closure.h"

#include <fmt/ostream.h>

#include "profiler/book_columns.h"
#include "profiler/text_table.h"
#include "runtime/core/format.h"

namespace reckon::profiler {
namespace {

using Bytes = std::optional<int64_t>;

Bytes difference(Bytes a, Bytes b) { return a && b ? Bytes(*a - *b) : std::nullopt; }

class Lines {
 public:
  explicit Lines(DeviceClosure& out) : out_(out) {}

  void add(std::string name, Bytes bytes, Origin origin, std::string note = {}) {
    if (bytes)
      known_ += *bytes;
    else
      out_.has_unknown_lines = true;
    out_.lines.push_back({std::move(name), bytes, origin, std::move(note)});
  }
  int64_t known() const { return known_; }

 private:
  DeviceClosure& out_;
  int64_t known_ = 0;
};

void add_grants(Lines& lines, const ClosureFigures& f) {
  if (!f.grants) {
    lines.add("library allocations", std::nullopt, Origin::measured, "no tracer listened to the driver");
    return;
  }
  Bytes own;
  int64_t all = 0;
  for (const Grant& g : *f.grants) {
    all += g.bytes;
    if (g.source == f.own_source && !f.own_source.empty()) own = own.value_or(0) + g.bytes;
  }
  if (own && f.reserved && *own == *f.reserved) {
    // Our segments are where we expect them, so the other sources are the libraries.
    for (const Grant& g : *f.grants)
      if (g.source != f.own_source)
        lines.add(fmt::format("allocated by {}", g.source.empty() ? "an unnamed library" : g.source), g.bytes,
                  Origin::measured,
                  fmt::format("{} allocation{}", format_count(g.count), g.count == 1 ? "" : "s"));
    return;
  }
  // Sources cannot be told apart from our own segments; their sum still can, unless
  // segments are older than the tracer.
  const Bytes rest = difference(all, f.reserved);
  if (rest && *rest < 0)
    lines.add("library allocations", std::nullopt, Origin::derived,
              "some of the driver's grants were not heard");
  else
    lines.add("library allocations", rest, Origin::derived,
              "all grants of the driver less the arena's segments");
}

}  // namespace

DeviceClosure close_device(const ClosureFigures& f) {
  DeviceClosure out;
  out.used = f.used_now;
  Lines lines(out);
  lines.add("live tensors and workspaces", f.requested, Origin::counted);
  lines.add("rounding", difference(f.rounded, f.requested), Origin::counted);
  lines.add("free inside segments", difference(f.reserved, f.rounded), Origin::counted);
  add_grants(lines, f);
  lines.add("the tracer's own buffers", f.tracer_bytes, Origin::derived);
  lines.add("context and modules", difference(f.used_after_context, f.used_before_context), Origin::measured,
            "as it was made; modules loaded later are below");
  lines.add("in use before", f.used_before_context, Origin::measured, "other processes, and the driver");
  if (f.used_now) out.unexplained = *f.used_now - lines.known();
  return out;
}

void write_closure(std::ostream& out, const DeviceClosure& closure) {
  out << "Device memory: what its used bytes are\n";
  std::string note;
  if (closure.unexplained && *closure.unexplained < 0)
    note = "negative: some lines count the same bytes";
  else if (closure.has_unknown_lines && closure.unexplained)
    note = "holds the unknown lines too";
  else if (!closure.unexplained)
    note = "the device's own figure is missing";
  TextTable t(TableOf<ClosureLine>::columns);
  t.rows(closure.lines);
  t.row({"unexplained", closure.unexplained, Origin::derived, note});
  t.rule();
  t.row({"used on the device", closure.used, Origin::measured, ""});
  out << t;
}

}  // namespace reckon::profiler
