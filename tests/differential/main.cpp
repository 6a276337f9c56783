// differential_test: random programs against independent references and against themselves under other settings.
// docs/testing.md says how to use it. Programs run in child processes, so that one that crashes is found like any other.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <sstream>

#include "autograd/hook.h"
#include "ops/op.h"
#include "tests/differential/generator.h"
#include "tests/differential/judge.h"
#include "tests/differential/results.h"
#include "tests/differential/shrink.h"
#include "tests/differential/values.h"

namespace reckon::differential {
namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned kMostSeconds = 60;  // of one program: more is a hang

struct Options {
  uint64_t from = 1, programs = 1000;
  double seconds = 0;
  std::vector<std::string> files;
  std::string results;
  bool print = false, all_ops = false;
  size_t most_faults = 5;
};

// A fault put in on purpose (--plant), to see that it is found: a thousandth too much in what an op gives.
std::string planted_op;
ops::CallHook hook_without_fault = nullptr;

TensorList planted_call(const ops::OpDef& op, std::span<const Tensor> inputs, const ops::AttrsPtr& attrs) {
  TensorList outputs = hook_without_fault(op, inputs, attrs);
  if (op.name != planted_op || !outputs[0].device().executes() || !is_compute_type(outputs[0].dtype()))
    return outputs;
  ops::HostTensor t = read(outputs[0]);
  for (double& v : t.values) v *= 1.001;
  write(outputs[0], t.values);
  return outputs;
}

void plant() {
  if (planted_op.empty()) return;
  autograd::install_hook();
  hook_without_fault = ops::call_hook();
  ops::set_call_hook(planted_call);
}

struct Finished {
  std::string output;
  bool crashed = false;
  std::string how;
};

// Runs `work` in a child; what it writes into the file comes back.
Finished in_child(const std::function<void(FILE*)>& work) {
  int ends[2];
  RECKON_CHECK(pipe(ends) == 0, "no pipe");
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    FILE* out = fdopen(ends[1], "w");
    plant();
    work(out);
    std::fclose(out);
    std::fflush(stdout);
    _exit(0);
  }
  close(ends[1]);
  Finished f;
  char buffer[4096];
  for (ssize_t n; (n = ::read(ends[0], buffer, sizeof(buffer))) > 0;)
    f.output.append(buffer, static_cast<size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) {
    f.crashed = true;
    f.how = WTERMSIG(status) == SIGALRM ? "does not end" : strsignal(WTERMSIG(status));
  } else if (WEXITSTATUS(status) != 0) {
    f.crashed = true;
    f.how = fmt::format("ended with status {}", WEXITSTATUS(status));
  }
  return f;
}

// The judge and the programs of this build: with the emulated GPU, those that run on it.
bool on_gpu() { return gpu_under_test().make != nullptr; }
Verdict verdict(const Program& p) { return on_gpu() ? judge_on_gpu(p) : judge(p); }

// A complaint without what changes from program to program: shrinking must not wander to another fault.
std::string kind_of(const std::string& complaint) {
  std::string kind;
  for (char c : complaint)
    if (!(c >= '0' && c <= '9')) kind += c;
  return kind.substr(0, 28);
}

std::vector<std::string> complaints_about(const Program& p) {
  const Finished f = in_child([&](FILE* out) {
    alarm(kMostSeconds);
    try {
      for (const std::string& c : verdict(p).complaints) std::fprintf(out, "%s\n", c.c_str());
    } catch (const std::exception& e) {
      std::fprintf(out, "the judge failed: %s\n", e.what());
    }
  });
  std::vector<std::string> lines;
  for (size_t at = 0, end; (end = f.output.find('\n', at)) != std::string::npos; at = end + 1)
    lines.push_back(f.output.substr(at, end - at));
  if (f.crashed) lines.push_back("crash: " + f.how);
  return lines;
}

// Made in a child: of a seed whose dry run crashes, as far as it came.
Program program_of(uint64_t seed) {
  const Finished whole = in_child(
      [&](FILE* out) { std::fprintf(out, "%s", to_text(Generator(seed, on_gpu()).program()).c_str()); });
  if (!whole.crashed) return parse_program(whole.output);
  const Finished part = in_child([&](FILE* out) {
    Generator(seed, on_gpu(), [&](const Program& p) {
      std::fprintf(out, "\f%s", to_text(p).c_str());
      std::fflush(out);
    }).program();
  });
  return parse_program(part.output.substr(part.output.rfind('\f') + 1));
}

void report(const std::string& name, const Program& p, const std::vector<std::string>& complaints, bool cut) {
  std::printf("\nFAULT in %s\n", name.c_str());
  for (size_t i = 0; i < complaints.size() && i < 8; ++i) std::printf("  %s\n", complaints[i].c_str());
  if (!cut) return;
  std::set<std::string> kinds;
  for (const std::string& c : complaints) kinds.insert(kind_of(c));
  const Program least = shrink(p, [&](const Program& candidate) {
    for (const std::string& c : complaints_about(candidate))
      if (kinds.contains(kind_of(c))) return true;
    return false;
  });
  std::printf("the least program that shows it (differential_test --program FILE):\n%s",
              to_text(least).c_str());
  const auto left = complaints_about(least);
  for (size_t i = 0; i < left.size() && i < 4; ++i) std::printf("  # %s\n", left[i].c_str());
  std::fflush(stdout);
}

struct Totals {
  uint64_t programs = 0, slopes = 0, kinks = 0, overwritten = 0;
  std::set<std::string> ops;
  std::vector<uint64_t> faults;
};

// Seeds from `first` on, in one child, until the end, the deadline or a fault. Returns the seed after the last one.
uint64_t run_seeds(uint64_t first, uint64_t end, Clock::time_point deadline, Totals& totals) {
  const Finished f = in_child([&](FILE* out) {
    for (uint64_t seed = first; seed < end; ++seed) {
      if (Clock::now() >= deadline) break;
      std::fprintf(out, "seed %llu\n", static_cast<unsigned long long>(seed));
      std::fflush(out);
      alarm(kMostSeconds);
      Verdict v;
      try {
        v = verdict(Generator(seed, on_gpu()).program());
      } catch (const std::exception& e) {
        v.complaints.push_back(std::string("the judge failed: ") + e.what());
      }
      std::string ops;
      for (const std::string& o : v.ops) ops += " " + o;
      std::fprintf(out, "done %d %d %d%s\n", v.has_slope, v.at_kink, v.overwritten, ops.c_str());
      if (!v.complaints.empty()) {
        std::fprintf(out, "fault\n");
        break;
      }
    }
  });
  uint64_t seed = first;
  bool open = false, fault = false;
  for (size_t at = 0, stop; (stop = f.output.find('\n', at)) != std::string::npos; at = stop + 1) {
    std::istringstream line(f.output.substr(at, stop - at));
    std::string word;
    line >> word;
    if (word == "seed") {
      line >> seed;
      open = true;
    } else if (word == "done") {
      int slope = 0, kink = 0, overwritten = 0;
      line >> slope >> kink >> overwritten;
      ++totals.programs;
      totals.slopes += slope;
      totals.kinks += kink;
      totals.overwritten += overwritten;
      for (std::string op; line >> op;) totals.ops.insert(op);
      open = false;
    } else {
      fault = true;
    }
  }
  if (fault || (f.crashed && open)) totals.faults.push_back(seed);
  return totals.programs == 0 && !open ? end : seed + 1;
}

int run_random(const Options& o) {
  Totals totals;
  const auto start = Clock::now();
  const auto deadline = o.seconds > 0
                            ? start + std::chrono::milliseconds(static_cast<int64_t>(1000 * o.seconds))
                            : Clock::time_point::max();
  const uint64_t end = o.seconds > 0 ? UINT64_MAX : o.from + o.programs;
  for (uint64_t seed = o.from; seed < end && Clock::now() < deadline && totals.faults.size() < o.most_faults;) {
    const size_t before = totals.faults.size();
    seed = run_seeds(seed, std::min(end, seed + 500), deadline, totals);
    if (totals.faults.size() == before) continue;
    const Program p = program_of(totals.faults.back());
    report(fmt::format("the program of --seed {}", totals.faults.back()), p, complaints_about(p),
           planted_op.empty());
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  std::printf(
      "%llu programs in %.1f s (%.0f a minute): %llu gradients judged by differences, %llu not (a kink), %llu "
      "refused "
      "by backward; %zu faults\n",
      static_cast<unsigned long long>(totals.programs), seconds,
      60 * static_cast<double>(totals.programs) / seconds, static_cast<unsigned long long>(totals.slopes),
      static_cast<unsigned long long>(totals.kinks), static_cast<unsigned long long>(totals.overwritten),
      totals.faults.size());
  int missing = 0;
  if (o.all_ops)
    for (const ops::OpDef* op : ops::all_ops())
      if (!totals.ops.contains(op->name)) {
        std::printf("op '%s' was never run: add it to tests/differential (docs/testing.md)\n", op->name);
        ++missing;
      }
  if (!planted_op.empty()) return totals.faults.empty() ? 1 : 0;
  return totals.faults.empty() && missing == 0 ? 0 : 1;
}

// Programs and what they compute, for another judge.
int write_results(const Options& o) {
  FILE* file = std::fopen(o.results.c_str(), "w");
  RECKON_CHECK(file, "cannot write {}", o.results);
  for (uint64_t seed = o.from; seed < o.from + o.programs; ++seed) {
    uint64_t last = seed;
    const Finished f = in_child([&](FILE* out) {
      for (; seed < std::min(last + 200, o.from + o.programs); ++seed) {
        alarm(kMostSeconds);
        const Program p = Generator(seed).program();
        std::fprintf(out, "seed %llu\n%s%send\n", static_cast<unsigned long long>(seed), to_text(p).c_str(),
                     results_of(p).c_str());
        std::fflush(out);
      }
    });
    std::fputs(f.output.c_str(), file);
    const size_t at = f.output.rfind("\nend\n");
    if (f.crashed && at == std::string::npos) continue;  // at the very first: go on behind it
    const size_t line = f.output.rfind("seed ", at);
    const size_t named = f.output.rfind("\nseed ", at);
    seed = std::stoull(f.output.substr(named == std::string::npos ? line + 5 : named + 6));
    if (f.crashed) {
      std::printf("seed %llu crashed\n", static_cast<unsigned long long>(seed + 1));
      std::fputs("\n", file);
      ++seed;
    }
  }
  std::fclose(file);
  return 0;
}

int run_files(const Options& o) {
  int wrong = 0;
  for (const std::string& path : o.files) {
    const Program p = read_program(path);
    RECKON_CHECK(to_text(parse_program(to_text(p))) == to_text(p), "{} does not print as it reads", path);
    const auto complaints = complaints_about(p);
    if (complaints.empty()) continue;
    report(path, p, complaints, false);
    ++wrong;
  }
  std::printf("%zu programs from files, %d wrong\n", o.files.size(), wrong);
  return wrong == 0 ? 0 : 1;
}

void add_files(const std::string& path, std::vector<std::string>& files) {
  if (!std::filesystem::is_directory(path)) {
    files.push_back(path);
    return;
  }
  const size_t before = files.size();
  for (const auto& entry : std::filesystem::directory_iterator(path))
    if (entry.path().extension() == ".txt") files.push_back(entry.path());
  std::sort(files.begin() + static_cast<ptrdiff_t>(before), files.end());
  RECKON_CHECK(files.size() > before, "{} holds no program", path);
}

Options read_options(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    const auto value = [&] {
      RECKON_CHECK(i + 1 < argc, "{} needs a value", flag);
      return std::string(argv[++i]);
    };
    if (flag == "--seed") {
      o.from = std::stoull(value());
      o.programs = 1;
    } else if (flag == "--from") {
      o.from = std::stoull(value());
    } else if (flag == "--programs") {
      o.programs = std::stoull(value());
    } else if (flag == "--seconds") {
      o.seconds = std::stod(value());
    } else if (flag == "--program") {
      add_files(value(), o.files);
    } else if (flag == "--faults") {
      o.most_faults = std::stoull(value());
    } else if (flag == "--plant") {
      planted_op = ops::op_by_name(value()).name;
      o.most_faults = 1;
    } else if (flag == "--results") {
      o.results = value();
    } else if (flag == "--print") {
      o.print = true;
    } else if (flag == "--all-ops") {
      o.all_ops = true;
    } else {
      raise_error(
          "unknown option " + flag +
          "; known: --seed N, --from N, --programs N, --seconds S, --program FILE or folder, --faults N "
          "(then stop), --plant OP (make it wrong, and succeed if that is found), --results FILE (for "
          "pytorch.py), --print (only print the programs), --all-ops (every "
          "registered op must run)");
    }
  }
  return o;
}

int run(int argc, char** argv) {
  const Options o = read_options(argc, argv);
  if (o.print) {
    for (uint64_t seed = o.from; seed < o.from + o.programs; ++seed)
      std::printf("%s\n", to_text(Generator(seed, on_gpu()).program()).c_str());
    return 0;
  }
  if (!o.results.empty()) return write_results(o);
  return o.files.empty() ? run_random(o) : run_files(o);
}

}  // namespace
}  // namespace reckon::differential

int main(int argc, char** argv) {
  try {
    return reckon::differential::run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "differential_test: %s\n", e.what());
    return 2;
  }
}
