// reckon bench dispatch: what one op call costs besides its work, on tensors so small that there is none.
#include <algorithm>
#include <ctime>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "autograd/engine.h"
#include "autograd/grad_mode.h"
#include "autograd/hook.h"
#include "autograd/node.h"
#include "cli/bench.h"
#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/fill/fill.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/view/view.h"
#include "profiler/table.h"
#include "runtime/core/format.h"
#include "runtime/cpu/threads.h"
#include "runtime/events/scope.h"

namespace reckon::cli {
namespace {

struct DispatchFlags {
  int64_t calls = 20000, rounds = 7;
  std::string json;
};

// Reads every event and keeps none: the cost of telling, without the ledger's cost of writing down.
struct Listener : EventSink {
  int64_t n = 0;
  void on(const Event&) override { ++n; }
};

struct Subject {
  const char* name;
  int ops;  // op calls per run
  std::function<void()> run;
};

std::vector<Subject> subjects(Device& device) {
  const auto tensor = [&](bool grad) {
    Tensor t = ops::full(device, {8}, DType::f32, 0.5, Category::parameter, "x");
    if (grad) autograd::set_requires_grad(t);
    return t;
  };
  const Tensor a = tensor(false), b = tensor(false), w = tensor(true), x = ops::reshape(tensor(false), {1, 8});
  const Tensor one = ops::full(device, {8}, DType::f32, 1.0, Category::input, "seed");
  std::vector<Subject> all;
  all.push_back({"add", 1, [a, b] { static_cast<void>(ops::add(a, b)); }});
  all.push_back({"silu", 1, [a] { static_cast<void>(ops::silu(a)); }});
  all.push_back({"rms_norm", 1, [x, a] { static_cast<void>(ops::rms_norm(x, a, 1e-6)); }});
  all.push_back({"reshape (a view)", 1, [a] { static_cast<void>(ops::reshape(a, {2, 4})); }});
  all.push_back({"add, recorded for backward", 1, [w, b] { static_cast<void>(ops::add(w, b)); }});
  // mul and its backward (a product, and the gradient moved into the leaf).
  all.push_back({"mul, forward and backward", 2, [w, b, one] {
                   autograd::backward(ops::mul(w, b), one);
                   autograd::clear_grad(w);
                 }});
  return all;
}

double thread_ns() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

// Nanoseconds of this thread's processor time per op call: the least of the rounds, since other work on the
// machine only ever adds.
double ns_per_op(const Subject& s, int64_t calls, int64_t rounds) {
  double best = 1e30;
  for (int64_t r = 0; r < rounds; ++r) {
    const double begin = thread_ns();
    for (int64_t i = 0; i < calls; ++i) s.run();
    const double ns = thread_ns() - begin;
    best = std::min(best, ns / static_cast<double>(calls * s.ops));
  }
  return best;
}

void run(const DispatchFlags& f) {
  RECKON_CHECK(f.calls >= 1 && f.rounds >= 1, "--calls and --rounds must be at least 1, got {} and {}", f.calls,
               f.rounds);
  autograd::install_hook();
  DeviceSpec spec = DeviceSpec::this_machine();
  spec.threads = 1;
  profiler::Table table("lrrr", {"op on 8 f32 numbers", "cpu [m]", "cpu, events read [m]", "meta [m]"});
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  Device cpu(DeviceKind::cpu, spec), observed(DeviceKind::cpu, spec), meta(DeviceKind::meta, spec);
  Listener listener;
  observed.add_sink(&listener);
  const auto on_cpu = subjects(cpu), on_observed = subjects(observed), on_meta = subjects(meta);
  for (size_t i = 0; i < on_cpu.size(); ++i) {
    const double plain = ns_per_op(on_cpu[i], f.calls, f.rounds),
                 told = ns_per_op(on_observed[i], f.calls, f.rounds),
                 dry = ns_per_op(on_meta[i], f.calls, f.rounds);
    const auto us = [](double ns) { return fmt::format("{:.2f} us", ns / 1e3); };
    table.row({on_cpu[i].name, us(plain), us(told), us(dry)});
    rows.push_back({{"op", on_cpu[i].name}, {"cpu_ns", plain}, {"cpu_observed_ns", told}, {"meta_ns", dry}});
  }
  fmt::print("Cost of one op call, least of {} rounds of {} calls, one thread\n", f.rounds,
             format_count(f.calls));
  std::fflush(stdout);
  table.print(std::cout);
  std::cout.flush();
  if (f.json.empty()) return;
  std::ofstream out(f.json);
  out << nlohmann::ordered_json{{"calls", f.calls}, {"rounds", f.rounds}, {"ops", rows}}.dump(1) << "\n";
  RECKON_CHECK(out.good(), "cannot write '{}'", f.json);
}

}  // namespace

void add_bench_dispatch(CLI::App& bench) {
  auto f = std::make_shared<DispatchFlags>();
  CLI::App* c = bench.add_subcommand(
      "dispatch",
      "Cost of one op call besides its work: tiny tensors, on cpu, on cpu with events read, on meta");
  c->add_option("--calls", f->calls, "Calls per round")->capture_default_str();
  c->add_option("--rounds", f->rounds, "Rounds; the fastest counts")->capture_default_str();
  c->add_option("--json", f->json, "File for the figures, in nanoseconds per call");
  c->callback([f] { run(*f); });
}

}  // namespace reckon::cli
