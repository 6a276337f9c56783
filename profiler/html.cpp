#include "profiler/html.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <sstream>

#include "profiler/device_report.h"
#include "profiler/file.h"
#include "profiler/replay.h"
#include "profiler/report.h"
#include "profiler/table.h"
#include "runtime/core/error.h"
#include "runtime/core/format.h"

namespace reckon::profiler {

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const std::string_view name = c == '&'    ? "amp"
                                  : c == '<'  ? "lt"
                                  : c == '>'  ? "gt"
                                  : c == '"'  ? "quot"
                                  : c == '\'' ? "#39"
                                              : "";
    out += name.empty() ? std::string(1, c) : fmt::format("&{};", name);
  }
  return out;
}

std::string to_html(const Table& table) {
  std::string out = "<table>";
  bool heads = true;
  for (const auto& row : table.rows()) {
    if (row.empty()) continue;  // a rule
    out += "<tr>";
    for (const std::string& cell : row)
      out += fmt::format("<{0}>{1}</{0}>", heads ? "th" : "td", escaped(cell));
    out += "</tr>\n";
    heads = false;
  }
  return out + "</table>\n";
}

namespace {

constexpr std::array<std::string_view, kCategories> kCategoryColour{
    "#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2", "#9c755f", "#bab0ac", "#edc948"};
constexpr std::array<std::string_view, kPhases> kPhaseColour{"#bab0ac", "#9c755f", "#4e79a7", "#edc948",
                                                             "#f28e2b", "#e15759", "#59a14f", "#b07aa1"};
constexpr double kWidth = 1100;
constexpr int64_t kCurvePoints = 1000;

std::string bytes_text(int64_t n) { return format_bytes(static_cast<double>(n)); }

// ---- memory over a step -------------------------------------------------------------------------------------

const StepBooks& books_of_events(const RunBooks& books, std::span<const Event> events) {
  if (events.empty()) return books.for_memory();
  for (const auto* b : {&books.highest, &books.last, &books.first})
    if (*b && events.front().kind == EventKind::step_begin && events.front().step == (*b)->step &&
        static_cast<int64_t>(events.size()) == (*b)->n_events)
      return **b;
  raise_error(fmt::format(
      "the {} events given for the report are not those of the first, last or highest step in the books",
      events.size()));
}

void add_change(const Event& e, ByCategory<int64_t>& bytes, int64_t& reserved) {
  const auto now = static_cast<size_t>(e.category), before = static_cast<size_t>(e.category_before);
  switch (e.kind) {
    case EventKind::segment_acquired:
      reserved += e.bytes;
      break;
    case EventKind::segment_released:
      reserved -= e.bytes;
      break;
    case EventKind::allocated:
      bytes[now] += e.bytes;
      break;
    case EventKind::freed:
      bytes[now] -= e.bytes;
      break;
    case EventKind::saved:
    case EventKind::unsaved:
    case EventKind::recategorized:
      bytes[before] -= e.bytes;
      bytes[now] += e.bytes;
      break;
    default:
      break;
  }
}

// The curve at full resolution. What was live before the step follows from the books, which know the peak:
// events only say what changed.
std::vector<TimelinePoint> curve(const StepBooks& books, std::span<const Event> events) {
  if (events.empty()) return books.timeline;
  TimelinePoint state;
  state.bytes = books.peak_by_category();
  state.reserved = books.peak_reserved;
  {
    TimelinePoint change;
    for (int64_t i = 0; i <= books.peak_at.event; ++i)
      add_change(events[static_cast<size_t>(i)], change.bytes, change.reserved);
    for (size_t c = 0; c < kCategories; ++c) state.bytes[c] -= change.bytes[c];
    state.reserved -= change.reserved;
  }
  for (const Event& e : events)
    if (tells_phase(e.kind)) {
      state.phase = e.phase;
      break;
    }
  const auto n = static_cast<int64_t>(events.size());
  const int64_t n_points = std::min(n, kCurvePoints);
  std::vector<TimelinePoint> out;
  for (int64_t i = 0; i < n; ++i) {
    const Event& e = events[static_cast<size_t>(i)];
    state.event = i;
    state.t_ns = e.t_ns - events.front().t_ns;
    if (static_cast<int64_t>(out.size()) == i * n_points / n) out.push_back(state);
    if (tells_phase(e.kind)) state.phase = e.phase;
    add_change(e, state.bytes, state.reserved);
    if (state.total() > out.back().total()) out.back() = state;
  }
  return out;
}

std::string timeline_svg(const StepBooks& books, const std::vector<TimelinePoint>& points) {
  constexpr double left = 90, height = 300, ribbon = 18;
  if (points.empty() || books.peak_bytes == 0) return "<p>Nothing was live.</p>";
  const double width = kWidth - left - 10;
  const auto x = [&](size_t i) {
    return left + width * static_cast<double>(i) / static_cast<double>(points.size());
  };
  const auto y = [&](int64_t bytes) {
    return 20 + height - height * static_cast<double>(bytes) / static_cast<double>(books.peak_bytes);
  };
  std::string svg = fmt::format("<svg viewBox='0 0 {} {}' role='img' aria-label='live bytes over the step'>\n",
                                kWidth, height + ribbon + 50);
  for (int tick = 0; tick <= 4; ++tick) {
    const int64_t bytes = books.peak_bytes / 4 * tick;
    svg += fmt::format(
        "<line class='grid' x1='{}' x2='{}' y1='{:.1f}' y2='{:.1f}'/><text x='{}' y='{:.1f}' "
        "text-anchor='end'>{}</text>\n",
        left, left + width, y(bytes), y(bytes), left - 6, y(bytes) + 4, bytes_text(bytes));
  }
  std::vector<int64_t> base(points.size(), 0);
  for (Category c : kLongLivedFirst) {
    int64_t most = 0;
    std::string upper, lower;
    for (size_t i = 0; i < points.size(); ++i) {
      const int64_t bytes = points[i].bytes[static_cast<size_t>(c)];
      most = std::max(most, bytes);
      // Steps, not slopes: bytes do not change between two events.
      const double y0 = y(base[i]), y1 = y(base[i] + bytes);
      upper += fmt::format("{:.2f},{:.2f} {:.2f},{:.2f} ", x(i), y1, x(i + 1), y1);
      lower = fmt::format("{:.2f},{:.2f} {:.2f},{:.2f} ", x(i + 1), y0, x(i), y0) + lower;
      base[i] += bytes;
    }
    if (most > 0)
      svg += fmt::format("<polygon fill='{}' points='{}{}'/>\n", kCategoryColour[static_cast<size_t>(c)], upper,
                         lower);
  }
  // The ribbon of phases, and a tooltip per column.
  for (size_t i = 0; i < points.size();) {
    size_t j = i;
    while (j < points.size() && points[j].phase == points[i].phase) ++j;
    const auto p = static_cast<size_t>(points[i].phase);
    svg += fmt::format("<rect x='{:.2f}' y='{}' width='{:.2f}' height='{}' fill='{}'><title>{}</title></rect>",
                       x(i), 24 + height, x(j) - x(i), ribbon, kPhaseColour[p], name_of(points[i].phase));
    if (x(j) - x(i) > 60)
      svg += fmt::format("<text class='inside' x='{:.2f}' y='{}'>{}</text>", x(i) + 4, 24 + height + 13,
                         name_of(points[i].phase));
    svg += '\n';
    i = j;
  }
  size_t peak = 0;
  for (size_t i = 0; i < points.size(); ++i) {
    if (points[i].total() > points[peak].total()) peak = i;
    std::string tip = fmt::format("event {}, {}: {}", format_count(points[i].event), name_of(points[i].phase),
                                  bytes_text(points[i].total()));
    for (Category c : kLongLivedFirst)
      if (const int64_t b = points[i].bytes[static_cast<size_t>(c)])
        tip += fmt::format("\n{} {}", name_of(c), bytes_text(b));
    svg += fmt::format(
        "<rect class='column' x='{:.2f}' y='20' width='{:.2f}' height='{}'><title>{}</title></rect>\n", x(i),
        x(i + 1) - x(i), height, tip);
  }
  svg += fmt::format(
      "<text x='{:.2f}' y='12' text-anchor='{}'>peak {}</text><line class='peak' x1='{:.2f}' x2='{:.2f}' "
      "y1='14' y2='20'/>",
      x(peak), x(peak) > kWidth - 160 ? "end" : "start", bytes_text(books.peak_bytes), x(peak), x(peak));
  return svg + "</svg>\n";
}

std::string colour_key(const StepBooks& books) {
  std::string out = "<p class='key'>";
  for (Category c : kLongLivedFirst)
    if (books.max_by_category[static_cast<size_t>(c)] > 0)
      out += fmt::format("<span><i style='background:{}'></i>{}</span> ",
                         kCategoryColour[static_cast<size_t>(c)], name_of(c));
  out += "</p>\n<p class='key'>phases: ";
  for (size_t p = 0; p < kPhases; ++p)
    if (books.max_by_phase[p] >= 0)
      out += fmt::format("<span><i style='background:{}'></i>{}</span> ", kPhaseColour[p],
                         name_of(static_cast<Phase>(p)));
  return out + "</p>\n";
}

// ---- nested rectangles --------------------------------------------------------------------------------------

struct Tree {
  int64_t weight = 0;
  std::string colour;
  std::map<std::string, Tree> children;

  void add(const std::vector<std::string>& path, int64_t w, std::string_view c) {
    Tree* t = this;
    t->weight += w;
    for (const std::string& part : path) {
      t = &t->children[part];
      t->weight += w;
      t->colour = c;
    }
  }
  int depth() const {
    int d = 0;
    for (const auto& [name, child] : children) d = std::max(d, 1 + child.depth());
    return d;
  }
};

std::vector<std::string> path_of(std::string_view first, NameId module, NameId op) {
  std::vector<std::string> out{std::string(first)};
  std::stringstream parts{std::string(name_of(module))};
  for (std::string part; std::getline(parts, part, '.');) out.push_back(part);
  out.push_back("op " + op_name(op));
  return out;
}

using Text = std::string (*)(int64_t);

void draw(const Tree& tree, const std::string& path, double x, double width, int level, int64_t whole,
          Text text, std::string& svg) {
  constexpr double row = 22;
  std::vector<const std::pair<const std::string, Tree>*> order;
  for (const auto& child : tree.children) order.push_back(&child);
  std::stable_sort(order.begin(), order.end(),
                   [](auto* a, auto* b) { return a->second.weight > b->second.weight; });
  for (const auto* child : order) {
    const auto& [name, t] = *child;
    const double w =
        tree.weight == 0 ? 0 : width * static_cast<double>(t.weight) / static_cast<double>(tree.weight);
    if (w < 0.4) break;  // and all after it: smaller ones
    const std::string here = path.empty() ? name : path + " / " + name;
    svg += fmt::format(
        "<rect class='box' x='{:.2f}' y='{:.0f}' width='{:.2f}' height='{:.0f}' fill='{}'><title>{}\n{} "
        "({})</title></rect>",
        x, level * row, w, row - 1, t.colour, escaped(here), text(t.weight), percent(t.weight, whole));
    if (const auto fits = static_cast<size_t>(std::max(0.0, (w - 6) / 7)); fits >= 3)
      svg += fmt::format("<text class='inside' x='{:.2f}' y='{:.0f}'>{}</text>", x + 3, level * row + 15,
                         escaped(name.substr(0, fits)));
    svg += '\n';
    draw(t, here, x, w, level + 1, whole, text, svg);
    x += w;
  }
}

std::string icicle(const Tree& tree, std::string_view label, Text text) {
  if (tree.weight == 0) return "<p>Nothing to show: 0.</p>";
  std::string svg = fmt::format("<svg viewBox='0 0 {} {}' role='img' aria-label='{}'>\n", kWidth,
                                22 * tree.depth() + 2, label);
  draw(tree, "", 0, kWidth, 0, tree.weight, text, svg);
  return svg + "</svg>\n";
}

// ---- the page -----------------------------------------------------------------------------------------------

template <class Write>
std::string section(std::string_view title, const Write& write, bool open = false) {
  std::ostringstream text;
  write(text);
  return fmt::format("<details{}><summary>{}</summary><pre>{}</pre></details>\n", open ? " open" : "", title,
                     escaped(text.str()));
}

std::string card(std::string_view name, const std::string& value, std::string_view mark) {
  return fmt::format("<div class='card'><b>{}</b><span>{} [{}]</span></div>", escaped(value), name, mark);
}

constexpr std::string_view kStyle = R"(
:root{color-scheme:light dark;--ink:#222;--paper:#fff;--line:#ddd;--soft:#f5f5f5}
@media(prefers-color-scheme:dark){:root{--ink:#ddd;--paper:#16181c;--line:#3a3d44;--soft:#202329}}
body{font:14px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:24px auto;max-width:1140px;padding:0 16px}
h1{font-size:20px}h2{font-size:16px;margin:28px 0 8px}svg{width:100%;height:auto}svg text{font-size:11px;fill:var(--ink)}
.grid{stroke:var(--line)}.peak{stroke:var(--ink)}.column{fill:transparent}.column:hover{fill:#8884}
.box{stroke:var(--paper);stroke-width:.5}.box:hover{opacity:.75}svg text.inside{fill:#111;pointer-events:none}
pre{overflow-x:auto;background:var(--soft);padding:10px;font-size:12px}summary{cursor:pointer;padding:4px 0}
.cards{display:flex;flex-wrap:wrap;gap:10px}.card{background:var(--soft);padding:8px 14px}.card b{display:block;font-size:18px}
.key span{margin-right:14px}.key i{display:inline-block;width:11px;height:11px;margin-right:5px}
table{border-collapse:collapse}td{padding:1px 14px 1px 0}
)";

}  // namespace

std::string to_html(const RunRecord& run, std::span<const Event> events) {
  const StepBooks& drawn = books_of_events(run.books, events);
  const StepBooks& memory = run.books.for_memory();
  const StepBooks& work = run.books.for_work();
  const FlopSplit f = split_flops(work.cost_by_phase());
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>reckon: the books of a run</title>"
      "<style>{}</style></head><body>\n<h1>The books of a run</h1>\n<table>",
      kStyle);
  for (const auto& [key, value] : run.config.entries)
    out += fmt::format("<tr><td>{}</td><td>{}</td></tr>", escaped(key), escaped(value));
  std::ostringstream legend;
  write_legend(legend);
  out += fmt::format("</table>\n<p>{}</p>\n<div class='cards'>", escaped(legend.str()));
  out += card("peak requested", bytes_text(memory.peak_bytes), "c");
  out += card("reserved then", bytes_text(memory.peak_reserved), "c");
  out += card("kept for backward", bytes_text(memory.saved_bytes), "c");
  out += card("executed FLOPs per step", format_scaled(static_cast<double>(f.executed())), "f");
  out += card("of them recompute", percent(f.recompute, f.executed()), "d");
  out += card("launches per step", format_count(work.n_launches()), "c");
  out += card("last step", format_seconds(static_cast<double>(work.duration_ns) * 1e-9), "m");
  out += "</div>\n";

  out += fmt::format(
      "<h2>Live bytes over {} [c]</h2>\n<p>In order of events; each column is the fullest moment of its "
      "stretch.</p>\n",
      drawn.step < 0 ? "the stretch outside of steps" : fmt::format("step {}", drawn.step));
  out += timeline_svg(drawn, curve(drawn, events)) + colour_key(drawn);

  Tree held, spent;
  for (const Cell& c : memory.cells)
    held.add(path_of(name_of(c.category), c.module, c.op), c.bytes,
             kCategoryColour[static_cast<size_t>(c.category)]);
  for (const WorkCell& w : work.work)
    if (flops(w.cost) > 0)
      spent.add(path_of(name_of(w.phase), w.module, w.op), flops(w.cost),
                kPhaseColour[static_cast<size_t>(w.phase)]);
  out += "<h2>Who holds the peak [c]: category, then module path, then op</h2>\n" +
         icicle(held, "peak bytes", bytes_text);
  out += "<h2>Where the FLOPs go [f]: phase, then module path, then op</h2>\n" +
         icicle(spent, "FLOPs", [](int64_t n) { return format_scaled(static_cast<double>(n)); });

  const ReportOptions options{.top = 60};
  out += "<h2>Tables</h2>\n";
  out += section(
      "Summary", [&](auto& o) { write_summary(o, run, options); }, true);
  out += section("The peak, cell by cell", [&](auto& o) { write_peak_table(o, memory, options); });
  out += section("Largest live blocks", [&](auto& o) { write_live_set(o, memory, options); });
  out += section("Kept for backward", [&](auto& o) { write_saved(o, memory, options); });
  out += section("Work by op", [&](auto& o) { write_work(o, work, options); });
  if (!run.books.series.empty()) out += section("Steps", [&](auto& o) { write_series(o, run.books, options); });
  if (run.process) out += section("Arena and process", [&](auto& o) { write_process(o, *run.process); });
  if (run.device)
    out += section("Seen on the device", [&](auto& o) { write_device(o, *run.device, work, options); });
  return out + "</body></html>\n";
}

void write_html(const std::string& path, const RunRecord& run, std::span<const Event> events) {
  write_file(path, to_html(run, events));
}

}  // namespace reckon::profiler
