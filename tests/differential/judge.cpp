#include "tests/differential/judge.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "profiler/audit.h"
#include "runtime/cpu/isa.h"
#include "tests/differential/closeness.h"
#include "tests/differential/machine.h"
#include "tests/differential/operations.h"
#include "tests/differential/references.h"
#include "tests/differential/slopes.h"

namespace reckon::differential {
namespace {

using autograd::CheckpointPolicy;
using ops::HostTensor;

constexpr CheckpointPolicy kPolicies[] = {CheckpointPolicy::none, CheckpointPolicy::selective,
                                          CheckpointPolicy::sublayer, CheckpointPolicy::block};

struct Complaints {
  std::vector<std::string>& all;
  std::string where;
  void add(const std::string& what) { all.push_back(where + ": " + what); }
};

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', '|');
  return text.substr(0, 500);
}

bool same_bits(const HostTensor& a, const HostTensor& b) {
  if (a.shape != b.shape || a.dtype != b.dtype) return false;
  for (size_t i = 0; i < a.values.size(); ++i) {
    const bool both_nan = std::isnan(a.values[i]) && std::isnan(b.values[i]);
    if (!both_nan && (a.values[i] != b.values[i] || std::signbit(a.values[i]) != std::signbit(b.values[i])))
      return false;
  }
  return true;
}

void compare_bits(const std::map<std::string, HostTensor>& a, const std::map<std::string, HostTensor>& b,
                  const char* what, Complaints& c) {
  for (const auto& [name, t] : a) {
    const auto other = b.find(name);
    if (other == b.end())
      c.add(fmt::format("{} {} is missing", what, name));
    else if (!same_bits(t, other->second))
      c.add(fmt::format("{} {} has other bits", what, name));
  }
  for (const auto& [name, t] : b)
    if (!a.contains(name)) c.add(fmt::format("{} {} is there, without checkpoints it is not", what, name));
}

// What holds for any run by itself.
void check_run(const Program& p, const Settings& settings, const Outcome& o, Complaints& c) {
  for (const std::string& b : o.broken) c.add(b);
  if (o.live_bytes != 0) c.add(fmt::format("{} bytes are alive after everything was dropped", o.live_bytes));
  const profiler::BooksCheck books = profiler::check_books(o.events);
  if (!books.closed) c.add("the books do not close: " + one_line(books.text));
  Settings dry = settings;
  dry.device = DeviceKind::meta;
  dry.gpu_plans = settings.device == DeviceKind::cuda;
  const Outcome predicted = run_program(p, dry);
  if (predicted.raised != o.raised) {
    const auto& more = predicted.raised.size() > o.raised.size() ? predicted.raised : o.raised;
    c.add(fmt::format("the dry run raises otherwise: {} against {} errors; {}", predicted.raised.size(),
                      o.raised.size(), one_line(more.back().line + ": " + more.back().message)));
    return;
  }
  const profiler::AuditResult audit = profiler::audit(predicted.events, o.events);
  if (!audit.equal) c.add("the dry run has other events: " + one_line(audit.text));
}

const Statement* statement_at(const Program& p, int number) {
  const Statement* found = nullptr;
  int n = 0;
  for_each_statement(p.body, [&](const Statement& s) {
    if (n++ == number) found = &s;
  });
  return found;
}

// Errors that the program does not ask for. Whether backward may refuse is for the caller.
void check_errors(const Program& p, const Outcome& o, Complaints& c) {
  std::set<int> raised;
  for (const Raised& r : o.raised) {
    raised.insert(r.statement);
    if (r.kind == RaisedKind::overwritten) continue;
    const Statement* s = statement_at(p, r.statement);
    const std::string expected = s->text("expect");
    if (expected == "maybe_hook" && r.kind == RaisedKind::hook) continue;
    if (expected != (r.kind == RaisedKind::hook ? "hook" : "error"))
      c.add(fmt::format("'{}' raised: {}", r.line, one_line(r.message)));
  }
  int n = 0;
  for_each_statement(p.body, [&](const Statement& s) {
    if (s.find("expect") && !s.text("expect").starts_with("maybe") && !raised.contains(n))
      c.add(fmt::format("'{}' raised nothing", to_text(s)));
    ++n;
  });
}

bool writes_in_place(const Program& p) {
  bool found = false;
  for_each_statement(p.body, [&](const Statement& s) {
    const Operation* op = find_operation(s.word);
    found |= op && op->writes;
  });
  return found;
}

// Whether a backward raised since gradients were cleared last: then they are not what the roots ask for.
bool gradients_incomplete(const Program& p, const Outcome& o) {
  int n = 0, cleared = -1;
  for_each_statement(p.body, [&](const Statement& s) {
    if (s.word == "clear_grad") cleared = n;
    ++n;
  });
  for (const Raised& r : o.raised)
    if (r.line.starts_with("backward") && r.statement > cleared) return true;
  return false;
}

// Whether backward refused because of a write in place.
bool refused_backward(const Outcome& o) {
  for (const Raised& r : o.raised)
    if (r.kind == RaisedKind::overwritten) return true;
  return false;
}

// Gradients of a run in f64 against differences.
void judge_gradients(const Program& p, const Tape& tape, const Outcome& real, bool kink_met, Verdict& v,
                     Complaints& c) {
  for (const auto& [name, g] : real.gradients)
    if (g.shape != real.values.at(name).shape || g.dtype != real.values.at(name).dtype)
      c.add(fmt::format("the gradient of {} is {} {}", name, name_of(g.dtype), to_string(g.shape)));
  if (gradients_incomplete(p, real)) return;
  const Slope slope = judge_slope(p, tape, real, 1000);
  const bool at_kink = !slope.judged || (kink_met && !slope.wrong.empty());
  v.at_kink |= at_kink;
  v.has_slope |= !at_kink;
  if (!slope.wrong.empty() && !at_kink) c.add(slope.wrong);
}

// Without checkpoints, and under policies that go on where it refuses.
Outcome judge_in_f64(const Program& p, Verdict& v) {
  Outcome none;
  bool kink_met = false;
  for (CheckpointPolicy policy : kPolicies) {
    Complaints c{v.complaints, fmt::format("f64 {}", name_of(policy))};
    Tape tape(p);
    const Settings settings{.policy = policy, .in_f64 = true};
    Outcome real;
    if (policy == CheckpointPolicy::none) {
      const CheckedCalls checked(v.complaints);
      real = run_program(p, settings, &tape);
      kink_met = checked.at_kink();
    } else {
      real = run_program(p, settings, &tape);
    }
    if (policy == CheckpointPolicy::none) {
      check_errors(p, real, c);
      check_run(p, settings, real, c);
    }
    judge_gradients(p, tape, real, kink_met, v, c);
    const bool done = policy == CheckpointPolicy::none && !refused_backward(real);
    if (policy == CheckpointPolicy::none) none = std::move(real);
    if (done) break;
  }
  return none;
}

// What a run raised, but for the backwards that it or the other one refused: what else they raise is not seen.
std::vector<Raised> without_refusals(std::vector<Raised> raised, const Outcome& other) {
  std::set<int> refused;
  for (const std::vector<Raised>* list : {&std::as_const(raised), &other.raised})
    for (const Raised& r : *list)
      if (r.kind == RaisedKind::overwritten) refused.insert(r.statement);
  std::erase_if(raised, [&](const Raised& r) { return refused.contains(r.statement); });
  return raised;
}

// A run under a policy against the one without checkpoints. Either may refuse backward where something was
// written in place: they keep different tensors.
void compare_policies(const Program& p, const Outcome& none, const Outcome& o, Complaints& c) {
  if (without_refusals(o.raised, none) != without_refusals(none.raised, o))
    c.add(fmt::format("raises otherwise than without checkpoints: {} against {} errors", o.raised.size(),
                      none.raised.size()));
  const bool refused = refused_backward(o) || refused_backward(none);
  if (refused && !writes_in_place(p)) c.add("nothing writes in place, yet backward says so");
  if (refused && o.raised != none.raised) return;
  compare_bits(none.values, o.values, "value", c);
  compare_bits(none.last, o.last, "last value", c);
  compare_bits(none.gradients, o.gradients, "gradient of", c);
}

Outcome judge_policies(const Program& p, DeviceKind device, Verdict& v) {
  Outcome first;
  int threads = 1;
  for (CheckpointPolicy policy : kPolicies) {
    const Settings settings{.device = device, .policy = policy, .threads = threads};
    threads = 3 - threads;
    Complaints c{v.complaints, (device == DeviceKind::cuda ? "gpu " : "") + std::string(name_of(policy))};
    Outcome o = run_program(p, settings);
    check_run(p, settings, o, c);
    check_errors(p, o, c);
    v.overwritten |= refused_backward(o);
    if (policy == CheckpointPolicy::none) {
      std::set<std::string> names;
      for (const Event& e : o.events)
        if (e.kind == EventKind::op_begin) names.insert(std::string(name_of(e.op)));
      v.ops.assign(names.begin(), names.end());
      first = std::move(o);
    } else {
      compare_policies(p, first, o, c);
    }
  }
  return first;
}

}  // namespace

Verdict judge(const Program& p) {
  Verdict v;
  const Outcome exact = judge_in_f64(p, v);
  const Outcome own = judge_policies(p, DeviceKind::cpu, v);
  Closeness closeness(p, exact);
  Complaints c{v.complaints, "none"};
  for (const std::string& far : closeness.too_far(own)) c.add(far);
  // Another instruction set: no bits are promised, but the same accuracy.
  const int level = static_cast<int>(p.header.natural("seed") % 2);
  if (level < static_cast<int>(cpu_isa_level())) {
    const Settings settings{.isa_level = level};
    Complaints older{v.complaints, fmt::format("instruction set {}", level)};
    const Outcome o = run_program(p, settings);
    check_run(p, settings, o, older);
    if (o.raised != own.raised) older.add("raises otherwise than the machine's own");
    for (const std::string& far : closeness.too_far(o)) older.add(far);
  }
  return v;
}

Verdict judge_on_gpu(const Program& p) {
  Verdict v;
  const Outcome exact = run_program(p, {.in_f64 = true});
  const Outcome gpu = judge_policies(p, DeviceKind::cuda, v);
  Complaints c{v.complaints, "gpu"};
  for (const std::string& far : Closeness(p, exact).too_far(gpu)) c.add(far);
  return v;
}

}  // namespace reckon::differential
