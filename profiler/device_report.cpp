#include "profiler/device_report.h"

#include <cxxabi.h>
#include <fmt/ostream.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>

#include "profiler/device_closure.h"
#include "profiler/flop_gaps.h"
#include "profiler/table.h"
#include "runtime/core/format.h"

namespace reckon::profiler {
namespace {

std::string time_text(int64_t ns, int64_t untimed, int64_t seen) {
  if (seen > 0 && untimed == seen) return "not collected";
  return format_seconds(static_cast<double>(ns) * 1e-9) + (untimed > 0 ? " +" : "");
}

std::string flop_text(int64_t n) {
  if (n == 0) return "0";
  return (n < 0 ? "-" : "") + format_scaled(static_cast<double>(n < 0 ? -n : n));
}
std::string flop_text(const std::optional<int64_t>& n) { return n ? flop_text(*n) : "unknown"; }
std::string bytes_text(const std::optional<int64_t>& n) {
  return n ? format_bytes(static_cast<double>(*n)) : "unknown";
}

void add(DeviceCell& to, const DeviceCell& c) {
  to.calls += c.calls;
  for (size_t k = 0; k < kLaunchKinds; ++k) to.announced[k] += c.announced[k];
  to.own_kernels += c.own_kernels;
  to.library_kernels += c.library_kernels;
  to.copies += c.copies;
  to.sets += c.sets;
  to.calls_that_differ += c.calls_that_differ;
  to.device_ns += c.device_ns;
  to.untimed += c.untimed;
}

void add(std::optional<int64_t>& to, const std::optional<int64_t>& n) {
  if (n) to = to.value_or(0) + *n;
}

void write_completeness(std::ostream& out, const DeviceStep& s) {
  if (!s.complete())
    fmt::print(out,
               "  !!! NOT COMPLETE: {} records were dropped, {} buffers could not be read to their end. What "
               "is seen below is too little. !!!\n",
               format_count(s.n_dropped), format_count(s.n_damaged));
  if (s.n_ambiguous)
    fmt::print(out, "  !!! {} API calls claim to belong to two ops and are under \"outside of ops\" !!!\n",
               format_count(s.n_ambiguous));
}

void write_unfiled(std::ostream& out, const DeviceStep& s, const ReportOptions& options) {
  if (s.unfiled.empty()) return;
  out << "  Outside of ops, or of an op that is not known:\n";
  Table t("lrrr", {"what", "seen [m]", "bytes [m]", "device time [m]"});
  UnfiledLine other;
  const auto line = [&](std::string what, const UnfiledLine& u) {
    t.row({std::move(what), format_count(u.count), u.bytes ? format_count(u.bytes) : "",
           time_text(u.device_ns, u.untimed, u.count)});
  };
  const size_t shown = std::min(s.unfiled.size(), static_cast<size_t>(std::max(options.top, 0)));
  for (size_t i = 0; i < s.unfiled.size(); ++i) {
    const UnfiledLine& u = s.unfiled[i];
    if (i < shown) {
      line(short_kernel_name(u.what), u);
      continue;
    }
    other.count += u.count;
    other.bytes += u.bytes;
    other.device_ns += u.device_ns;
    other.untimed += u.untimed;
  }
  if (shown < s.unfiled.size()) line(fmt::format("other ({} kinds)", s.unfiled.size() - shown), other);
  t.print(out);
}

void write_kernels(std::ostream& out, const DeviceStep& s, const ReportOptions& options) {
  if (s.kernels.empty()) return;
  out << "Kernels by device time\n";
  Table t("llrr", {"kernel", "whose", "seen [m]", "device time [m]"});
  KernelLine other;
  const size_t shown = std::min(s.kernels.size(), static_cast<size_t>(std::max(options.top, 0)));
  for (size_t i = 0; i < s.kernels.size(); ++i) {
    const KernelLine& k = s.kernels[i];
    if (i < shown) {
      t.row({short_kernel_name(k.name), k.own ? "own" : "library", format_count(k.count),
             time_text(k.device_ns, k.untimed, k.count)});
      continue;
    }
    other.count += k.count;
    other.device_ns += k.device_ns;
    other.untimed += k.untimed;
  }
  if (shown < s.kernels.size())
    t.row({fmt::format("other ({} kernels)", s.kernels.size() - shown), "", format_count(other.count),
           time_text(other.device_ns, other.untimed, other.count)});
  t.print(out);
}

void write_traffic(std::ostream& out, const StepBooks& work, const CounterBooks& counted) {
  CountedWork sum;
  for (const CountedWork& w : counted.work) {
    add(sum.dram_read, w.dram_read);
    add(sum.dram_written, w.dram_written);
    add(sum.l2_bytes, w.l2_bytes);
    add(sum.special, w.special);
  }
  Cost declared;
  for (const WorkCell& w : work.work) declared += w.cost;
  Table t("lrr", {"", "declared [f]", "hardware [m]"});
  t.row({"bytes read", format_bytes(static_cast<double>(declared.bytes_read)),
         bytes_text(sum.dram_read) + " from DRAM"});
  t.row({"bytes written", format_bytes(static_cast<double>(declared.bytes_written)),
         bytes_text(sum.dram_written) + " to DRAM"});
  t.row({"bytes through L2", "", bytes_text(sum.l2_bytes)});
  t.row({"special functions", flop_text(declared.special), flop_text(sum.special) + " (conversions too)"});
  t.print(out);
}

// Rows of one op and phase together; a reason whose size is unknown somewhere has no size.
struct MergedFlops {
  int64_t needed = 0, executed = 0;
  std::optional<int64_t> hardware, unexplained;
  std::map<std::string, std::optional<int64_t>> reasons;
};

std::string reasons_text(const MergedFlops& m) {
  std::string text;
  for (const auto& [name, n] : m.reasons)
    text += fmt::format("{}{}{}", text.empty() ? "" : ", ", name, n ? " " + flop_text(*n) : "");
  return text;
}

}  // namespace

std::string short_kernel_name(std::string_view mangled) {
  const std::string text(mangled);
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> plain(
      abi::__cxa_demangle(text.c_str(), nullptr, nullptr, &status), std::free);
  std::string name = status == 0 && plain ? plain.get() : text;
  for (const std::string_view gone : {"(anonymous namespace)::", "reckon::ops::gpu::", "void "})
    for (size_t at = name.find(gone); at != std::string::npos; at = name.find(gone, at))
      name.erase(at, gone.size());
  // The arguments of the call begin at the last parenthesis that is not inside <>.
  int depth = 0;
  for (size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '<') ++depth;
    if (name[i] == '>') --depth;
    if (name[i] == '(' && depth == 0 && i > 0) {
      name.resize(i);
      break;
    }
  }
  constexpr size_t kMost = 72;
  if (name.size() > kMost) name = name.substr(0, kMost - 3) + "...";
  return name;
}

void write_observed_launches(std::ostream& out, const DeviceStep& s, const ReportOptions& options) {
  write_completeness(out, s);
  std::map<std::pair<std::string, Phase>, DeviceCell> merged;
  for (const DeviceCell& c : s.cells) add(merged[{op_name(c.op), c.phase}], c);
  std::vector<std::pair<std::pair<std::string, Phase>, DeviceCell>> order(merged.begin(), merged.end());
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.second.device_ns > b.second.device_ns; });
  const DeviceCell sum = s.sum();
  Table t("llrrrrrrrrl",
          {"op", "phase", "calls [c]", "planned = made [c]", "own kernels [m]", "library calls [c]",
           "library kernels [m]", "copies, sets [m]", "device time [m]", "share [d]", ""});
  const auto line = [&](std::string op, std::string phase, const DeviceCell& c) {
    t.row({std::move(op), std::move(phase), format_count(c.calls), format_count(c.announced_directly()),
           format_count(c.own_kernels), format_count(c.announced[static_cast<size_t>(LaunchKind::library)]),
           format_count(c.library_kernels), format_count(c.copies + c.sets),
           time_text(c.device_ns, c.untimed, c.seen()), percent(c.device_ns, sum.device_ns),
           c.calls_that_differ ? fmt::format("DIFFERS in {} call{}", format_count(c.calls_that_differ),
                                             c.calls_that_differ == 1 ? "" : "s")
                               : ""});
  };
  DeviceCell other;
  const size_t shown = std::min(order.size(), static_cast<size_t>(std::max(options.top, 0)));
  for (size_t i = 0; i < order.size(); ++i) {
    const auto& [key, c] = order[i];
    if (i < shown)
      line(key.first, std::string(name_of(key.second)), c);
    else
      add(other, c);
  }
  if (shown < order.size()) line(fmt::format("other ({} rows)", order.size() - shown), "", other);
  t.rule();
  line("sum", "", sum);
  t.print(out);
  if (sum.calls_that_differ)
    fmt::print(out, "  DIFFERS: in {} of {} op calls the kernels seen are not the ones announced{}\n",
               format_count(sum.calls_that_differ), format_count(sum.calls),
               s.complete() ? "" : " (records are missing)");
  else
    fmt::print(out, "  in all {} op calls every launch announced was seen, and no other of our kernels\n",
               format_count(sum.calls));
  if (sum.untimed)
    fmt::print(out, "  {} launches have no times (not collected): device time is too short by theirs (+)\n",
               format_count(sum.untimed));
  write_unfiled(out, s, options);
}

void write_flop_columns(std::ostream& out, const StepBooks& work, const DeviceStep* traced,
                        const CounterBooks& counted, const ReportOptions& options) {
  std::map<std::pair<std::string, Phase>, MergedFlops> merged;
  MergedFlops sum;
  for (const FlopRow& r : reconcile_flops(work, traced, counted))
    for (MergedFlops* m : {&merged[{op_name(r.op), r.phase}], &sum}) {
      m->needed += r.needed;
      m->executed += r.executed;
      add(m->hardware, r.hardware);
      add(m->unexplained, r.unexplained);
      for (const GapReason& g : r.reasons) {
        const auto [at, first] = m->reasons.try_emplace(g.name, g.flops);
        if (!first) at->second = at->second && g.flops ? std::optional(*at->second + *g.flops) : std::nullopt;
      }
    }
  std::vector<std::pair<std::pair<std::string, Phase>, MergedFlops>> order(merged.begin(), merged.end());
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.second.executed > b.second.executed; });
  fmt::print(out,
             "FLOPs by the maths, by what ran, by the hardware: {}, {} passes over as many steps from step {}, "
             "whose times are the counters'\n",
             counted.chip, counted.n_passes, counted.first_step);
  if (counted.n_dropped || counted.n_unfiled)
    fmt::print(out, "  !!! NOT COMPLETE: {} ranges were dropped, {} belong to no op !!!\n",
               format_count(counted.n_dropped), format_count(counted.n_unfiled));
  Table t("llrrrrrl", {"op", "phase", "needed [f]", "executed [f]", "hardware [m]", "hardware - needed [d]",
                       "unexplained [d]", "reasons"});
  const auto line = [&](std::string op, std::string phase, const MergedFlops& m) {
    t.row({std::move(op), std::move(phase), flop_text(m.needed), flop_text(m.executed), flop_text(m.hardware),
           m.hardware ? flop_text(*m.hardware - m.needed) : "unknown", flop_text(m.unexplained),
           reasons_text(m)});
  };
  const size_t shown = std::min(order.size(), static_cast<size_t>(std::max(options.top, 0)));
  MergedFlops other;
  for (size_t i = 0; i < order.size(); ++i) {
    const auto& [key, m] = order[i];
    if (i < shown) {
      line(key.first, std::string(name_of(key.second)), m);
      continue;
    }
    other.needed += m.needed;
    other.executed += m.executed;
    add(other.hardware, m.hardware);
    add(other.unexplained, m.unexplained);
  }
  if (shown < order.size()) line(fmt::format("other ({} rows)", order.size() - shown), "", other);
  t.rule();
  line("sum", "", sum);
  t.print(out);
  if (counted.joint_tensor_types) out << "  this chip counts bf16, f16 and tf32 products together\n";
  write_traffic(out, work, counted);
}

void write_device(std::ostream& out, const DeviceBooks& d, const StepBooks& work,
                  const ReportOptions& options) {
  fmt::print(out, "Seen on the device ({})\n", d.tracer);
  for (const std::string& note : d.notes) fmt::print(out, "  {}\n", note);
  if (d.steps_incomplete || d.steps_that_differ)
    fmt::print(out, "  of {} traced steps {} are not complete and {} differ from what was announced\n",
               format_count(d.steps_traced), format_count(d.steps_incomplete),
               format_count(d.steps_that_differ));
  if (d.step) {
    fmt::print(out, "Launches of step {} by op and phase\n", d.step->step);
    write_observed_launches(out, *d.step, options);
    if (work.step == d.step->step && work.duration_ns > 0)
      fmt::print(out, "  the device was busy for {} [m] of the step's {} [m], which tracing makes longer\n",
                 format_seconds(static_cast<double>(d.step->busy_ns) * 1e-9),
                 format_seconds(static_cast<double>(work.duration_ns) * 1e-9));
    out << '\n';
    write_kernels(out, *d.step, options);
  }
  if (d.counters) {
    out << '\n';
    write_flop_columns(out, work, d.step ? &*d.step : nullptr, *d.counters, options);
  }
  if (d.closure) {
    out << '\n';
    write_closure(out, *d.closure);
  }
  fmt::print(out,
             "Observer: {} of host memory [m] and {} of host time [m] over {} traced steps; by its own account "
             "{} lost to it, {} to the driver loading code\n",
             format_bytes(static_cast<double>(d.observer_host_bytes)),
             format_seconds(static_cast<double>(d.observer_host_ns) * 1e-9), format_count(d.steps_traced),
             format_seconds(static_cast<double>(d.tracer_overhead_ns) * 1e-9),
             format_seconds(static_cast<double>(d.module_loading_ns) * 1e-9));
}

}  // namespace reckon::profiler
