// The timeline of a step in characters, and the closure of reserved bytes against the process.
#include <fmt/ostream.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "profiler/report.h"
#include "profiler/table.h"
#include "runtime/core/format.h"

namespace reckon::profiler {
namespace {

constexpr char letter(Category c) {
  constexpr std::array<char, kCategories> letters{'P', 'G', 'O', '#', 'c', '.', 'w', 'i', 'K'};
  return letters[static_cast<size_t>(c)];
}

constexpr char letter(Phase p) {
  constexpr std::array<char, kPhases> letters{'i', 'd', 'f', 'l', 'b', 'r', 'o', 'x'};
  return letters[static_cast<size_t>(p)];
}

char character_at(const TimelinePoint& p, double height) {
  double top = 0;
  for (Category c : kLongLivedFirst) {
    top += static_cast<double>(p.bytes[static_cast<size_t>(c)]);
    if (height < top) return letter(c);
  }
  return ' ';
}

}  // namespace

void write_timeline(std::ostream& out, const StepBooks& books, const ReportOptions& options) {
  fmt::print(out,
             "Live bytes over {} [c], left to right in order of events; each column is the fullest moment of "
             "its stretch\n",
             books.step < 0 ? "the stretch outside of steps" : fmt::format("step {}", books.step));
  if (books.timeline.empty() || books.peak_bytes == 0) {
    out << "  (nothing was live)\n";
    return;
  }
  const size_t width =
      std::clamp<size_t>(static_cast<size_t>(std::max(options.width, 1)), 1, books.timeline.size());
  const int height = std::max(options.height, 2);
  std::vector<TimelinePoint> columns;
  for (size_t x = 0; x < width; ++x) {
    const auto first = books.timeline.begin() + static_cast<ptrdiff_t>(x * books.timeline.size() / width);
    const auto last = books.timeline.begin() + static_cast<ptrdiff_t>((x + 1) * books.timeline.size() / width);
    columns.push_back(
        *std::max_element(first, last, [](const auto& a, const auto& b) { return a.total() < b.total(); }));
  }
  const double unit = static_cast<double>(books.peak_bytes) / height;
  for (int y = height - 1; y >= 0; --y) {
    const bool labelled = y == height - 1 || y == height / 2 || y == 0;
    std::string line = labelled
                           ? fmt::format("{:>12} |", format_bytes(y == 0 ? 0 : unit * (y + (y == height - 1))))
                           : fmt::format("{:>12} |", "");
    for (const TimelinePoint& p : columns) line += character_at(p, (y + 0.5) * unit);
    line.resize(line.find_last_not_of(' ') + 1);
    out << line << '\n';
  }
  fmt::print(out, "{:>12} +{}\n", "", std::string(width, '-'));
  std::string phases, mark(width, ' ');
  for (const TimelinePoint& p : columns) phases += letter(p.phase);
  const auto peak = std::max_element(columns.begin(), columns.end(),
                                     [](const auto& a, const auto& b) { return a.total() < b.total(); });
  mark[static_cast<size_t>(peak - columns.begin())] = '^';
  mark.resize(mark.find_last_not_of(' ') + 1);
  fmt::print(out, "{:>12}  {}\n{:>12}  {} peak {}\n", "phase", phases, "", mark,
             format_bytes(static_cast<double>(books.peak_bytes)));
  out << "  bytes:";
  for (Category c : kLongLivedFirst)
    if (books.max_by_category[static_cast<size_t>(c)] > 0) fmt::print(out, "  {} {}", letter(c), name_of(c));
  out << "\n  phases:";
  for (size_t p = 0; p < kPhases; ++p)
    if (books.max_by_phase[p] >= 0)
      fmt::print(out, "  {} {}", letter(static_cast<Phase>(p)), name_of(static_cast<Phase>(p)));
  out << '\n';
}

ProcessBooks measure_process(const Arena& arena, int64_t observer_bytes) {
  const ArenaStats s = arena.stats();
  ProcessBooks p;
  p.requested = static_cast<int64_t>(s.requested);
  p.rounded = static_cast<int64_t>(s.rounded);
  p.reserved = static_cast<int64_t>(s.reserved);
  p.resident = arena.resident_bytes();
  p.observer = observer_bytes;
  std::ifstream status("/proc/self/status");
  std::string name, line;
  while (status >> name) {
    int64_t kib = 0;
    int64_t* field = name == "VmRSS:"      ? &p.rss
                     : name == "RssAnon:"  ? &p.rss_anon
                     : name == "RssFile:"  ? &p.rss_file
                     : name == "RssShmem:" ? &p.rss_shmem
                     : name == "VmHWM:"    ? &p.rss_peak
                                           : nullptr;
    if (field && status >> kib) *field = kib * 1024;
    std::getline(status, line);
  }
  return p;
}

void write_process(std::ostream& out, const ProcessBooks& p) {
  out << "Arena and process at the end of the run\n";
  Table t("lrr", {"line", "bytes", "short"});
  const auto line = [&](std::string name, int64_t bytes, bool known = true) {
    t.row({std::move(name), known ? format_count(bytes) : "unknown",
           known ? format_bytes(static_cast<double>(bytes)) : ""});
  };
  line("live tensors and workspaces, requested [c]", p.requested);
  line("rounding to the granularity [d]", p.rounded - p.requested);
  line("free in segments [d]", p.reserved - p.rounded);
  t.rule();
  line("reserved by the arena [c]", p.reserved);
  line("of which never touched, so not resident [d]", p.reserved - p.resident, p.resident >= 0);
  t.rule();
  const bool anon = p.rss_anon >= 0 && p.resident >= 0;
  line("arena, resident [m]", p.resident, p.resident >= 0);
  line("heap, stacks and library tables: RssAnon less the arena [d]", p.rss_anon - p.resident, anon);
  if (p.observer >= 0) line("  of which the ledger's own logs and table [c]", p.observer);
  line("program and libraries, mapped files: RssFile [m]", p.rss_file, p.rss_file >= 0);
  line("shared memory: RssShmem [m]", p.rss_shmem, p.rss_shmem >= 0);
  t.rule();
  line("process: VmRSS [m]", p.rss, p.rss >= 0);
  t.print(out);
  if (anon && p.rss >= 0 && p.rss_file >= 0 && p.rss_shmem >= 0) {
    const int64_t rest = p.rss - p.rss_anon - p.rss_file - p.rss_shmem;
    if (rest == 0)
      out << "  the four lines sum to VmRSS\n";
    else
      fmt::print(out, "  the four lines miss VmRSS by {} bytes: the system counted while pages changed\n",
                 signed_count(rest));
  }
  if (p.rss_peak >= 0)
    fmt::print(out, "  most the process ever held [m]: {}\n", bytes_exact_and_short(p.rss_peak));
}

}  // namespace reckon::profiler
