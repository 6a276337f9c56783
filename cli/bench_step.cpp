// reckon bench step: one training step of a case file, again and again, with its times, books and gradients.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "autograd/autocast.h"
#include "autograd/fusion.h"
#include "autograd/hook.h"
#include "autograd/node.h"
#include "cli/bench.h"
#include "cli/devices.h"
#include "cli/typed_flags.h"
#include "models/data/safetensors.h"
#include "models/train/optimizer.h"
#include "parity/step.h"
#include "profiler/ledger.h"
#include "profiler/replay.h"
#include "profiler/report.h"
#include "profiler/table.h"
#include "runtime/core/format.h"
#include "runtime/cpu/isa.h"
#include "runtime/cpu/threads.h"
#include "runtime/events/scope.h"

namespace reckon::cli {
namespace {

using Json = nlohmann::ordered_json;
using parity::StepModel;

struct StepFlags {
  std::string file, optimizer = "none", ledger = "on", grads, json;
  parity::Settings settings{.dtype = DType::f32};
  bool low_residual = false;
  int64_t rounds = 5, warmup = 1;
  double lr = 1e-4;
  int threads = 0;
  bool on_request = false;
};

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Processor time of all threads.
double process_seconds() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

// Follows what backward holds, so that it can be read between forward and backward.
class SavedMeter : public EventSink {
 public:
  void on(const Event& e) override { state_.apply(e); }
  int64_t bytes() const { return state_.saved; }
  int64_t alias_bytes() const { return state_.saved_alias; }

 private:
  profiler::Replay state_;
};

// Makes "peak since now" readable from VmHWM; false where the system does not allow it.
bool reset_peak_rss() {
  std::ofstream f("/proc/self/clear_refs");
  f << "5" << std::flush;
  return f.good();
}

class StepBench {
 public:
  explicit StepBench(const StepFlags& f)
      : flags_(f), owned_(open_device(f.settings.device, DeviceSpec::this_machine())), device_(*owned_) {
    autograd::install_hook();
    if (f.ledger == "on") device_.add_sink(&ledger_);
    PhaseScope phase(Phase::init);
    case_ = std::make_unique<parity::Case>(f.file, f.settings, device_, report_);
    model_ = parity::open_step(*case_);
    if (f.optimizer == "adamw") {
      models::OptimizerOptions o;
      o.clip = 0;
      optimizer_ = std::make_unique<models::Optimizer>(*model_.parameters, o);
    }
    start_ = profiler::measure_process(device_.arena());
  }

  const StepModel& model() const { return model_; }
  const Device& device() const { return device_; }

  // The checked step, before any other: loss, bytes held between forward and backward, gradients on request.
  void first() {
    SavedMeter meter;  // sees every block of the step, since it listens before the step begins
    device_.add_sink(&meter);
    step([&](const TensorList& outputs) {
      saved_bytes_ = meter.bytes();
      saved_alias_bytes_ = meter.alias_bytes();
      if (device_.executes()) loss_ = model_.loss_of(outputs);
    });
    device_.remove_sink(&meter);
    peak_is_ours_ = reset_peak_rss();
  }

  double timed() {
    const double cpu = process_seconds();
    seconds_.push_back(untimed());
    cpu_seconds_.push_back(process_seconds() - cpu);
    return seconds_.back();
  }

  double untimed() {
    device_.synchronize();
    const auto begin = std::chrono::steady_clock::now();
    step([](const TensorList&) {});
    device_.synchronize();
    return seconds_since(begin);
  }

  Json result() {
    ledger_.close();
    const profiler::ProcessBooks now = profiler::measure_process(device_.arena());
    Json j{{"case", std::filesystem::path(flags_.file).filename().string()},
           {"kind", model_.kind},
           {"dtype", name_of(flags_.settings.dtype)},
           {"residual", flags_.low_residual ? "low" : "f32"},
           {"checkpoint", autograd::name_of(flags_.settings.checkpoint)},
           {"fuse", flags_.settings.fuse.to_string()},
           {"optimizer", flags_.optimizer},
           {"ledger", flags_.ledger},
           {"threads", device_.spec().threads},
           {"isa", name_of(static_cast<IsaLevel>(device_.spec().isa_level))},
           {"seconds", seconds_},
           {"cpu_seconds", cpu_seconds_}};
    if (device_.executes()) j["loss"] = loss_;
    j["saved_bytes"] = saved_bytes_;
    j["saved_alias_bytes"] = saved_alias_bytes_;
    j["peak_requested"] = device_.arena().stats().peak_requested;
    j["rss_start"] = start_.rss;
    if (peak_is_ours_) j["rss_peak"] = now.rss_peak;
    if (flags_.ledger == "on") add_books(j, ledger_.books().for_work(), ledger_.books().for_memory());
    return j;
  }

 private:
  template <class Between>
  void step(const Between& between) {
    const autograd::FusionScope fusions(flags_.settings.fuse);
    device_.begin_step(n_steps_);
    {
      autograd::CheckpointScope policy(flags_.settings.checkpoint);
      autograd::AutocastScope precision(flags_.settings.dtype, flags_.low_residual);
      TensorList outputs = model_.forward();
      between(outputs);
      model_.backward(outputs);
    }
    if (n_steps_ == 0 && !flags_.grads.empty()) write_gradients();
    if (optimizer_) optimizer_->step(n_steps_, flags_.lr);
    for (const auto& [name, t] : model_.leaves) autograd::clear_grad(t);
    device_.end_step();
    ++n_steps_;
  }

  void write_gradients() const {
    data::SafetensorsWriter writer;
    std::vector<std::vector<float>> values;
    values.reserve(model_.leaves.size());
    for (const auto& [name, leaf] : model_.leaves) {
      const Tensor grad = autograd::grad_of(leaf);
      if (!grad.defined()) continue;
      const std::vector<double> v = parity::to_doubles(grad);
      values.emplace_back(v.begin(), v.end());
      const auto& shape = leaf.shape();
      writer.add(name, data::StoredType::F32, std::vector<int64_t>(shape.begin(), shape.end()),
                 std::as_bytes(std::span(values.back())));
    }
    writer.write(flags_.grads);
  }

  static void add_books(Json& j, const profiler::StepBooks& work, const profiler::StepBooks& memory) {
    j["peak_bytes"] = memory.peak_bytes;
    Json categories = Json::object();
    const auto by = memory.peak_by_category();
    for (int c = 0; c < kCategories; ++c)
      categories[std::string(name_of(static_cast<Category>(c)))] = by[static_cast<size_t>(c)];
    j["peak_by_category"] = categories;
    j["largest_saved_bytes"] = memory.saved_bytes;
    j["launches"] = work.n_launches();
    std::map<Phase, int64_t> launches;
    for (const profiler::WorkCell& w : work.work) launches[w.phase] += w.n_launches();
    for (const auto& [phase, n] : launches) j["launches_by_phase"][std::string(name_of(phase))] = n;
    j["allocations"] = work.n_allocations;
    j["events"] = work.n_events;
    Json phases = Json::object();
    const auto cost = work.cost_by_phase();
    int64_t matmul = 0;
    for (int p = 0; p < kPhases; ++p) {
      const Cost& c = cost[static_cast<size_t>(p)];
      if (c == Cost{}) continue;
      matmul += c.matmul_flops;
      phases[std::string(name_of(static_cast<Phase>(p)))] = {{"matmul", c.matmul_flops},
                                                             {"vector", c.vector_flops},
                                                             {"special", c.special},
                                                             {"bytes", c.bytes_read + c.bytes_written}};
    }
    j["matmul_flops"] = matmul;
    j["flops"] = phases;
    struct OpLine {
      int64_t calls = 0, launches = 0, time_ns = 0, matmul = 0, bytes = 0;
    };
    std::map<std::string, OpLine> ops;
    for (const profiler::WorkCell& w : work.work) {
      OpLine& l = ops[profiler::op_name(w.op)];
      l.calls += w.calls;
      l.launches += w.n_launches();
      l.time_ns += w.time_ns;
      l.matmul += w.cost.matmul_flops;
      l.bytes += w.cost.bytes_read + w.cost.bytes_written;
    }
    std::vector<std::pair<std::string, OpLine>> sorted(ops.begin(), ops.end());
    std::sort(sorted.begin(), sorted.end(),
              [](const auto& a, const auto& b) { return a.second.time_ns > b.second.time_ns; });
    int64_t calls = 0;
    j["ops"] = Json::array();
    for (const auto& [name, l] : sorted) {
      calls += l.calls;
      j["ops"].push_back({{"op", name},
                          {"calls", l.calls},
                          {"launches", l.launches},
                          {"ms", static_cast<double>(l.time_ns) / 1e6},
                          {"matmul_flops", l.matmul},
                          {"bytes", l.bytes}});
    }
    j["op_calls"] = calls;
  }

  StepFlags flags_;
  std::unique_ptr<Device> owned_;
  Device& device_;
  profiler::Ledger ledger_;
  parity::Report report_;
  std::unique_ptr<parity::Case> case_;
  StepModel model_;
  std::unique_ptr<models::Optimizer> optimizer_;
  profiler::ProcessBooks start_;
  bool peak_is_ours_ = false;
  int64_t n_steps_ = 0;
  int64_t saved_bytes_ = 0, saved_alias_bytes_ = 0;
  double loss_ = 0;
  std::vector<double> seconds_, cpu_seconds_;
};

void print_summary(const Json& j) {
  std::vector<double> s = j["seconds"].get<std::vector<double>>();
  std::sort(s.begin(), s.end());
  fmt::print("\n");
  if (!s.empty())
    fmt::print("step: median {}, {} to {} over {} rounds [m]\n", format_seconds(s[s.size() / 2]),
               format_seconds(s.front()), format_seconds(s.back()), s.size());
  fmt::print("kept for backward after forward: {} [c]\n", format_bytes(j["saved_bytes"].get<double>()));
  if (!j.contains("launches")) return;
  fmt::print("peak {} [c], {} launches [c], {} allocations [c], matrix products {}FLOP [f]\n",
             format_bytes(j["peak_bytes"].get<double>()), format_count(j["launches"]),
             format_count(j["allocations"]), format_scaled(j["matmul_flops"].get<double>()));
  profiler::Table t("lrrrrr", {"op", "calls [c]", "launches [c]", "time [m]", "GFLOP/s [d]", "GB/s [d]"});
  for (const auto& o : j["ops"]) {
    const double ms = o["ms"].get<double>();
    if (ms < 0.05) continue;
    t.row({o["op"].get<std::string>(), format_count(o["calls"]), format_count(o["launches"]),
           format_seconds(ms / 1e3),
           o["matmul_flops"].get<int64_t>() ? fmt::format("{:.1f}", o["matmul_flops"].get<double>() / ms / 1e6)
                                            : "-",
           fmt::format("{:.1f}", o["bytes"].get<double>() / ms / 1e6)});
  }
  std::cout << "\nLast step by op (time of one call at a time, calls inside left out)\n";
  t.print(std::cout);
  std::cout.flush();
}

void write_json(const std::string& path, const Json& j) {
  std::ofstream out(path);
  out << j.dump(1) << "\n";
  RECKON_CHECK(out.good(), "cannot write '{}'", path);
}

void run(const StepFlags& f) {
  const parity::Settings& s = f.settings;
  RECKON_CHECK(!f.low_residual || s.dtype == DType::bf16,
               "--residual must be f32, or low with --dtype bf16, got 'low' with {}", name_of(s.dtype));
  RECKON_CHECK(f.rounds >= 0 && f.warmup >= 1,
               "--rounds must not be negative and --warmup at least 1, got {} and {}", f.rounds, f.warmup);
  if (f.threads != 0) set_cpu_threads(f.threads);
  StepBench bench(f);
  if (!f.on_request)
    fmt::print("{}: {} parameters, {}, {} threads, dtype {}, checkpoint {}, fuse {}, optimizer {}, ledger {}\n",
               bench.model().kind, format_count(bench.model().parameters->n_elements()), name_of(s.device),
               bench.device().spec().threads, name_of(s.dtype), autograd::name_of(s.checkpoint),
               s.fuse.to_string(), f.optimizer, f.ledger);
  std::fflush(stdout);
  bench.first();
  for (int64_t i = 1; i < f.warmup; ++i) bench.untimed();
  if (f.on_request) {
    // One line in, one line out: whoever pairs this run with another one decides whose turn it is.
    fmt::print("ready\n");
    std::fflush(stdout);
    std::string line;
    while (std::getline(std::cin, line) && line == "step") {
      fmt::print("{:.9f}\n", bench.timed());
      std::fflush(stdout);
    }
  } else {
    for (int64_t i = 0; i < f.rounds; ++i) {
      fmt::print("round {}/{}: {}\n", i + 1, f.rounds, format_seconds(bench.timed()));
      std::fflush(stdout);
    }
  }
  const Json j = bench.result();
  if (!f.on_request) print_summary(j);
  if (!f.json.empty()) write_json(f.json, j);
}

}  // namespace

void add_bench_step(CLI::App& bench) {
  auto f = std::make_shared<StepFlags>();
  CLI::App* c = bench.add_subcommand("step",
                                     "One training step of a case file (weights, batch and metadata in a "
                                     "safetensors file): times, books, gradients");
  c->add_option("CASE", f->file,
                "Safetensors file in the format of tests/reference: a Qwen decoder, or a module with inputs "
                "in.*, weights param.* and cotangents cot.*")
      ->required();
  parity::Settings& s = f->settings;
  add_dtype(*c, "--dtype", s.dtype, "f32, bf16 (matrix products in bf16, weights and norms in f32) or f64",
            {"f32", "bf16", "f64"});
  add_residual(*c, f->low_residual, "With --dtype bf16: residual streams in f32, or low: in bf16 too");
  add_device(*c, s.device, "cpu, cuda, or meta for the books alone");
  add_checkpoint(*c, s.checkpoint, "none, selective, sublayer or block");
  add_fuse(*c, s.fuse);
  add_choice(*c, "--optimizer", f->optimizer, {"none", "adamw"},
             "none: forward and backward; adamw: the update belongs to the step");
  c->add_option("--rounds", f->rounds, "Timed steps")->capture_default_str();
  c->add_option("--warmup", f->warmup,
                "Steps before the timed ones; the first is the one whose loss and gradients are written")
      ->capture_default_str();
  c->add_option("--threads", f->threads, "CPU threads; 0: all this process may use")->capture_default_str();
  add_choice(*c, "--ledger", f->ledger, {"on", "off"}, "on: books by op; off: no event is recorded");
  c->add_flag("--on-request", f->on_request,
              "Print 'ready', then run one step for each line 'step' on standard input and print its seconds; "
              "end with the input");
  c->add_option("--grads", f->grads,
                "Safetensors file for the first step's gradients, as f32 under the case's names");
  c->add_option("--json", f->json, "File for times (seconds), bytes, launches, FLOPs and time by op");
  c->callback([f] { run(*f); });
}

}  // namespace reckon::cli
