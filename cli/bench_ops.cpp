// reckon bench ops: what every registered op reaches at model sizes, against what this machine can do.
#include <algorithm>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "autograd/hook.h"
#include "cli/bench.h"
#include "cli/bench_subjects.h"
#include "cli/machine.h"
#include "profiler/table.h"
#include "runtime/core/format.h"
#include "runtime/cpu/isa.h"
#include "runtime/cpu/threads.h"

namespace reckon::cli {
namespace {

using Json = nlohmann::ordered_json;

struct OpsFlags {
  std::string dtype = "both", only, json;
  int64_t rounds = 5;
  int threads = 0;
  bool quick = false;
};

// Calls of equal op and cost are one kind of call; each remembers its times.
struct CallKind {
  NameId op{};
  Cost cost{};
  bool operator<(const CallKind& o) const {
    const auto key = [](const CallKind& k) {
      return std::tuple(k.op.index, k.cost.matmul_flops, k.cost.vector_flops, k.cost.special, k.cost.bytes_read,
                        k.cost.bytes_written);
    };
    return key(*this) < key(o);
  }
};

class OpTimer : public EventSink {
 public:
  void on(const Event& e) override {
    if (e.kind == EventKind::op_begin) begin_ns_ = e.t_ns;
    if (e.kind == EventKind::op_end) times_[{e.op, e.cost}].push_back(e.t_ns - begin_ns_);
  }
  std::map<CallKind, std::vector<int64_t>> take() { return std::exchange(times_, {}); }

 private:
  int64_t begin_ns_ = 0;
  std::map<CallKind, std::vector<int64_t>> times_;
};

struct Line {
  std::string op, where, dtype;
  Cost cost{};
  double seconds = 0;
  double roof_seconds = 0;  // the least this machine needs for these products and this traffic
  int64_t bytes() const { return cost.bytes_read + cost.bytes_written; }
};

struct Roof {
  double f32_flops = 0, bf16_flops = 0, copy_bytes = 0;
  double seconds(const Cost& c, DType t) const {
    const double flops = t == DType::f32 ? f32_flops : bf16_flops;
    return std::max(static_cast<double>(c.matmul_flops) / flops,
                    static_cast<double>(c.bytes_read + c.bytes_written) / copy_bytes);
  }
};

// Keeps the heaviest kind of call of each op.
void collect(const std::map<CallKind, std::vector<int64_t>>& times, const std::string& where, DType dtype,
             const Roof& roof, std::map<std::string, Line>& best) {
  for (const auto& [kind, ns] : times) {
    std::vector<int64_t> sorted = ns;
    std::sort(sorted.begin(), sorted.end());
    Line l{std::string(name_of(kind.op)),
           where,
           std::string(name_of(dtype)),
           kind.cost,
           static_cast<double>(sorted[sorted.size() / 2]) / 1e9,
           roof.seconds(kind.cost, dtype)};
    if (l.bytes() == 0) continue;  // views
    auto [it, fresh] = best.try_emplace(l.op, l);
    if (!fresh && l.roof_seconds > it->second.roof_seconds) it->second = l;
  }
}

Json to_json(const Line& l) {
  return {{"op", l.op},
          {"dtype", l.dtype},
          {"where", l.where},
          {"seconds", l.seconds},
          {"matmul_flops", l.cost.matmul_flops},
          {"vector_flops", l.cost.vector_flops},
          {"special", l.cost.special},
          {"bytes", l.bytes()},
          {"share_of_roof", l.roof_seconds / l.seconds}};
}

class OpsBench {
 public:
  explicit OpsBench(const OpsFlags& f) : flags_(f), device_(DeviceKind::cpu, DeviceSpec::this_machine()) {
    autograd::install_hook();
    fmt::print("measuring the machine ... ");
    std::fflush(stdout);
    roof_ = {measure_matmul_rate(DType::f32, device_.spec()), measure_matmul_rate(DType::bf16, device_.spec()),
             measure_copy_rate(device_.spec().threads)};
    fmt::print("{}FLOP/s f32, {}FLOP/s bf16 (1024^3 products), {}B/s copied (read + write), {} thread{}, {}\n",
               format_scaled(roof_.f32_flops), format_scaled(roof_.bf16_flops), format_scaled(roof_.copy_bytes),
               device_.spec().threads, device_.spec().threads == 1 ? "" : "s",
               name_of(static_cast<IsaLevel>(device_.spec().isa_level)));
    std::fflush(stdout);
  }

  std::vector<Line> run(DType dtype) {
    std::map<std::string, Line> best;
    if (flags_.only.empty())
      for (const BenchSubject& s : model_subjects(device_, dtype, flags_.quick)) measure(s, dtype, best);
    for (const ops::OpDef* op : ops::all_ops()) {
      if (best.count(op->name) || (!flags_.only.empty() && flags_.only != op->name)) continue;
      for (const BenchSubject& s : grown_case(device_, *op, dtype, flags_.quick ? 1 << 16 : 1 << 25))
        measure(s, dtype, best, op->name);
    }
    std::vector<Line> lines;
    for (const auto& [name, line] : best)
      if (flags_.only.empty() || name == flags_.only) lines.push_back(line);
    std::sort(lines.begin(), lines.end(), [](const Line& a, const Line& b) {
      return a.roof_seconds / a.seconds < b.roof_seconds / b.seconds;
    });
    return lines;
  }

  Json machine() const {
    return {{"threads", device_.spec().threads},
            {"isa", name_of(static_cast<IsaLevel>(device_.spec().isa_level))},
            {"f32_flops", roof_.f32_flops},
            {"bf16_flops", roof_.bf16_flops},
            {"copy_bytes_per_second", roof_.copy_bytes}};
  }

 private:
  void measure(const BenchSubject& s, DType dtype, std::map<std::string, Line>& best,
               const char* op = nullptr) {
    fmt::print("  {}  {}{}{}\n", name_of(dtype), op ? op : "", op ? ": " : "", s.name);
    std::fflush(stdout);
    s.run();
    OpTimer timer;
    device_.add_sink(&timer);
    for (int64_t i = 0; i < flags_.rounds; ++i) s.run();
    device_.remove_sink(&timer);
    collect(timer.take(), s.name, dtype, roof_, best);
  }

  OpsFlags flags_;
  Device device_;
  Roof roof_;
};

void print_lines(const std::vector<Line>& lines, const char* dtype) {
  fmt::print("\n{}: the heaviest kind of call of each op, lowest share of the roof first\n", dtype);
  std::fflush(stdout);
  profiler::Table t("lrrrrrl",
                    {"op", "time [m]", "GFLOP/s [d]", "GB/s [d]", "of roof [d]", "bound by", "where"});
  for (const Line& l : lines) {
    const bool products =
        l.roof_seconds * 1.0001 > 0 && l.cost.matmul_flops > 0 &&
        static_cast<double>(l.cost.matmul_flops) / static_cast<double>(std::max<int64_t>(l.bytes(), 1)) > 20;
    t.row({l.op, format_seconds(l.seconds),
           l.cost.matmul_flops
               ? fmt::format("{:.1f}", static_cast<double>(l.cost.matmul_flops) / l.seconds / 1e9)
               : "-",
           fmt::format("{:.1f}", static_cast<double>(l.bytes()) / l.seconds / 1e9),
           fmt::format("{:.0f} %", 100 * l.roof_seconds / l.seconds), products ? "products" : "traffic",
           l.where});
  }
  t.print(std::cout);
  std::cout.flush();
}

void run(const OpsFlags& f) {
  RECKON_CHECK(f.dtype == "f32" || f.dtype == "bf16" || f.dtype == "both",
               "--dtype must be f32, bf16 or both, got '{}'", f.dtype);
  RECKON_CHECK(f.rounds >= 1, "--rounds must be at least 1, got {}", f.rounds);
  if (!f.only.empty()) static_cast<void>(ops::op_by_name(f.only));
  if (f.threads != 0) set_cpu_threads(f.threads);
  OpsBench bench(f);
  Json all = Json::array();
  for (const DType dtype : {DType::f32, DType::bf16}) {
    if (f.dtype != "both" && f.dtype != name_of(dtype)) continue;
    const std::vector<Line> lines = bench.run(dtype);
    print_lines(lines, name_of(dtype).data());
    for (const Line& l : lines) all.push_back(to_json(l));
  }
  if (f.json.empty()) return;
  std::ofstream out(f.json);
  out << Json{{"machine", bench.machine()}, {"rounds", f.rounds}, {"ops", all}}.dump(1) << "\n";
  RECKON_CHECK(out.good(), "cannot write '{}'", f.json);
}

}  // namespace

void add_bench_ops(CLI::App& bench) {
  auto f = std::make_shared<OpsFlags>();
  CLI::App* c = bench.add_subcommand("ops",
                                     "Every registered op at model sizes: time, GFLOP/s, GB/s and the share of "
                                     "what this machine can do (measured at the start)");
  c->add_option("--dtype", f->dtype, "f32, bf16 (autocast) or both")->capture_default_str();
  c->add_option("--only", f->only,
                "One op, by its name: its heaviest declared case, grown to 32 MiB of traffic");
  c->add_option("--rounds", f->rounds, "Timed runs of each subject; medians count")->capture_default_str();
  c->add_option("--threads", f->threads, "CPU threads; 0: all this process may use")->capture_default_str();
  c->add_flag("--quick", f->quick, "Tiny sizes: for a look at the table, not at the figures");
  c->add_option("--json", f->json,
                "File for the figures (seconds, FLOPs, bytes) and the machine's measured rates");
  c->callback([f] { run(*f); });
}

}  // namespace reckon::cli
