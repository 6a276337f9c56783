#include "tests/differential/machine.h"

#include <cstring>
#include <exception>
#include <utility>

#include "autograd/autocast.h"
#include "autograd/checkpoint.h"
#include "autograd/engine.h"
#include "autograd/fusion.h"
#include "autograd/hook.h"
#include "autograd/node.h"
#include "runtime/cpu/isa.h"
#include "runtime/events/scope.h"
#include "tests/differential/operations.h"
#include "tests/differential/values.h"

namespace reckon::differential {
namespace {

constexpr const char* kThrown = "thrown by a gradient hook of the program";

DType run_type(DType t, bool in_f64) { return in_f64 && is_compute_type(t) ? DType::f64 : t; }

// What a statement that raises must leave as it was.
struct ThreadState {
  bool grad = autograd::grad_state().enabled;
  autograd::CheckpointPolicy policy = autograd::grad_state().policy;
  bool autocast = autograd::autocast_state().enabled;
  DType low = autograd::autocast_state().low;
  autograd::FusionSet fusions = autograd::fusion_state();
  uint64_t seed = autograd::grad_state().generator.seed, stream = autograd::grad_state().generator.next_stream;
  NameId module = context().module, op = context().op;
  Phase phase = context().phase;
  int64_t step = context().step;

  std::string differs(const ThreadState& o, bool streams_too) const {
    if (grad != o.grad) return "gradients are switched";
    if (policy != o.policy) return "the checkpoint policy changed";
    if (autocast != o.autocast || low != o.low) return "autocast changed";
    if (!(fusions == o.fusions)) return "the fusions changed";
    if (module != o.module || op != o.op || phase != o.phase || step != o.step) return "the scope changed";
    if (seed != o.seed || (streams_too && stream != o.stream)) return "the generator changed";
    return "";
  }
};

class Raise {
 public:
  explicit Raise(int& depth) : depth_(depth) { ++depth_; }
  ~Raise() { --depth_; }
  Raise(const Raise&) = delete;
  Raise& operator=(const Raise&) = delete;

 private:
  int& depth_;
};

std::vector<std::string> split_colons(const std::string& text) {
  std::vector<std::string> parts(1);
  for (char c : text)
    if (c == ':')
      parts.emplace_back();
    else
      parts.back() += c;
  return parts;
}

// A tensor of a given layout inside a storage that is filled with nonsense where the layout does not reach.
Tensor laid_out(Device& device, const Statement& s, DType type, Category category, Shape& drawn_shape) {
  const Shape shape = s.dims("shape");
  drawn_shape = shape;
  const auto parts = split_colons(s.text("layout", "dense"));
  const auto made = [&](const Shape& stored) {
    Tensor t = Tensor::empty(device, stored, type, category, s.outs[0]);
    if (device.executes()) {
      const std::vector<std::byte> nonsense(t.bytes(), std::byte{0x7d});
      device.copy_from_host(t.address(), nonsense.data(), nonsense.size());
    }
    return t;
  };
  const auto number = [&](size_t i) { return static_cast<int>(std::stoll(parts.at(i))); };
  if (parts[0] == "dense") return made(shape);
  Shape stored = shape;
  if (parts[0] == "swap") {
    std::swap(stored[number(1)], stored[number(2)]);
    return made(stored).transposed(number(1), number(2));
  }
  if (parts[0] == "spread") {
    stored[number(1)] = drawn_shape[number(1)] = 1;
    return made(stored).expanded(shape);
  }
  RECKON_CHECK(parts[0] == "step", "no layout is called '{}'", parts[0]);
  const int axis = number(1), step = number(2), offset = number(3);
  stored[axis] = shape[axis] * step + offset;
  const Tensor big = made(stored);
  Layout l = big.layout();
  l.shape = shape;
  l.offset += offset * l.strides[axis];
  l.strides[axis] *= step;
  return big.with_layout(l);
}

}  // namespace

Tensor gradient_of(const Tensor& leaf) {
  try {
    return autograd::grad_of(leaf);
  } catch (const Error&) {  // a part of one, of a backward that raised
    return {};
  }
}

GpuUnderTest& gpu_under_test() {
  static GpuUnderTest gpu;
  return gpu;
}

DeviceSpec spec_for(const Settings& settings) {
  if (settings.device == DeviceKind::cuda || settings.gpu_plans) {
    DeviceSpec spec = gpu_under_test().spec();
    spec.library_workspace_bytes = size_t{1} << 16;
    return spec;
  }
  DeviceSpec spec;
  spec.threads = settings.threads;
  const int machine = static_cast<int>(cpu_isa_level());
  spec.isa_level = settings.isa_level < 0 ? machine : std::min(settings.isa_level, machine);
  // Small segments: a fresh device costs little, and a limit on memory is felt at the next allocation.
  spec.memory = {.granularity = 64,
                 .small_limit = size_t{1} << 12,
                 .small_segment = size_t{1} << 14,
                 .large_segment = size_t{1} << 14,
                 .segment_round = size_t{1} << 12};
  return spec;
}

Machine::Machine(Device& device, const Settings& settings, Watcher* watcher)
    : device_(device), settings_(settings), watcher_(watcher) {}

void Machine::number(const Program& p) {
  int n = 0;
  for_each_statement(p.body, [&](const Statement& s) { numbers_[&s] = n++; });
}

// What raises here raises through what encloses it.
void Machine::run_body(const std::vector<Statement>& body, Env& env) {
  const Raise deeper(inside_);
  for (const Statement& s : body)
    if (s.word != "return") run(s, env);
}

void Machine::run_all(const std::vector<Statement>& body, Env& env) {
  for (const Statement& s : body) {
    if (inputs_missing(s, env)) continue;
    const auto number = numbers_.find(&s);
    if (watcher_ && number != numbers_.end() && watcher_->skips(number->second)) continue;
    const ThreadState before;
    const size_t mark = watcher_ ? watcher_->mark() : 0;
    try {
      run(s, env);
    } catch (const std::exception&) {
      note(s, std::current_exception());
      if (watcher_) watcher_->back_to(mark);
      if (s.word != "backward")  // whoever tries again draws the same numbers
        autograd::grad_state().generator = {before.seed, before.stream};
      const std::string changed = before.differs(ThreadState(), s.word == "backward");
      if (!changed.empty()) outcome_.broken.push_back("an error in '" + to_text(s) + "': " + changed);
    }
  }
}

void Machine::run_scope(const std::vector<Statement>& body, Env& env) {
  if (inside_ > 0)
    run_body(body, env);
  else
    run_all(body, env);
}

bool Machine::inputs_missing(const Statement& s, const Env& env) const {
  for (const std::string& in : s.ins)
    if (in != "_" && !env.contains(in)) return true;
  return false;
}

void Machine::note(const Statement& s, std::exception_ptr error) {
  Raised r{.statement = numbers_[&s], .kind = RaisedKind::error, .line = to_text(s), .message = ""};
  try {
    std::rethrow_exception(error);
  } catch (const OutOfMemory& e) {
    r.kind = RaisedKind::memory;
    r.message = e.what();
  } catch (const std::exception& e) {
    r.message = e.what();
    if (r.message.find("overwritten before backward") != std::string::npos) r.kind = RaisedKind::overwritten;
    if (r.message.find(kThrown) != std::string::npos) r.kind = RaisedKind::hook;
  }
  outcome_.raised.push_back(std::move(r));
}

void Machine::define(const Statement& s, const std::string& name, Tensor t, Env& env, bool constant) {
  if (name == "_") return;
  const Phase phase = context().phase;
  if (watcher_ && phase != Phase::recompute) t = watcher_->made(s, name, t, constant || no_grad_ > 0);
  if (!t.defined()) return;  // a leaf without gradient
  if (settings_.keep_values && phase != Phase::recompute && device_.executes()) outcome_.values[name] = read(t);
  env[name] = std::move(t);
}

void Machine::run(const Statement& s, Env& env) {
  if (special(s, env)) return;
  operation(s, env);
}

void Machine::operation(const Statement& s, Env& env) {
  const Operation* op = find_operation(s.word);
  RECKON_CHECK(op, "no statement begins with '{}'", s.word);
  TensorList in;
  for (const std::string& name : s.ins) in.push_back(name == "_" ? Tensor() : env.at(name));
  const auto written = op->writes && watcher_ ? op->writes(s) : std::vector<size_t>{};
  for (size_t i : written)
    if (in.at(i).defined()) watcher_->before_write(in[i]);
  TensorList out = op->call({s, in, settings_.in_f64});
  for (size_t i : written)
    if (in[i].defined()) watcher_->after_write(in[i]);
  RECKON_CHECK(out.size() >= s.outs.size(), "'{}' gives {} tensors", to_text(s), out.size());
  in.clear();
  for (size_t i = 0; i < s.outs.size(); ++i) define(s, s.outs[i], std::move(out[i]), env, op->constant);
}

bool Machine::special(const Statement& s, Env& env) {
  if (s.word == "leaf") {
    leaf(s, env);
  } else if (s.word == "segment") {
    segment(s, env);
  } else if (s.word == "no_grad") {
    const autograd::NoGrad off;
    const Raise deeper(no_grad_);
    run_scope(s.body, env);
  } else if (s.word == "autocast") {
    const autograd::AutocastScope scope(run_type(dtype_from_name(s.text("type")), settings_.in_f64));
    run_scope(s.body, env);
  } else if (s.word == "try") {
    attempt(s, env);
  } else if (s.word == "backward") {
    backward(s, env);
  } else if (s.word == "hook") {
    hook(s, env);
  } else if (s.word == "grad") {
    define(s, s.outs[0], gradient_of(env.at(s.ins[0])), env, true);
  } else if (s.word == "clear_grad") {
    for (auto& [name, t] : leaves_) autograd::clear_grad(t);
    outcome_.gradients.clear();
    if (watcher_) watcher_->gradients_cleared();
  } else if (s.word == "drop") {
    for (const std::string& name : s.ins) env.erase(name);
  } else {
    return false;
  }
  return true;
}

void Machine::leaf(const Statement& s, Env& env) {
  const std::string grad = s.text("grad", "0");
  Shape drawn_shape;
  const bool in_f64 = settings_.in_f64 && s.text("fixed") != "1";
  Tensor t = laid_out(device_, s, run_type(dtype_from_name(s.text("type", "f32")), in_f64),
                      grad == "0" ? Category::input : Category::parameter, drawn_shape);
  std::vector<double> values =
      drawn(s.text("values"), s.number("scale", 1), static_cast<size_t>(numel(drawn_shape)));
  if (!(drawn_shape == t.shape())) {  // one value along the axis that is spread
    Layout stored = t.layout();
    for (int a = 0; a < t.rank(); ++a)
      if (stored.strides[a] == 0) stored.shape[a] = drawn_shape[a];
    write(t.with_layout(stored), values);
  } else {
    write(t, values);
  }
  if (grad != "0") autograd::set_requires_grad(t, grad == "1");
  const std::string kind = s.text("values");
  const bool ordinary = kind.starts_with("signed") || kind.starts_with("positive");
  if (watcher_ && (grad == "1" || ordinary)) watcher_->leaf(s.outs[0], t, grad == "1", ordinary);
  if (grad == "1") leaves_[s.outs[0]] = t;
  if (settings_.keep_values && device_.executes()) outcome_.values[s.outs[0]] = read(t);
  env[s.outs[0]] = t;
}

void Machine::segment(const Statement& s, Env& env) {
  TensorList in;
  Env captured;
  for (const std::string& name : s.ins) in.push_back(env.at(name));
  for_each_statement(s.body, [&](const Statement& inner) {
    for (const std::string& name : inner.ins)
      if (const auto found = env.find(name); found != env.end()) captured.insert(*found);
  });
  for (const std::string& name : s.ins) captured.erase(name);
  const auto f = [this, &s, captured](std::span<const Tensor> inputs) {
    Env inside = captured;
    for (size_t i = 0; i < inputs.size(); ++i) inside[s.ins[i]] = inputs[i];
    run_body(s.body, inside);
    TensorList returned;
    for (const std::string& name : s.body.back().ins) returned.push_back(inside.at(name));
    return returned;
  };
  TensorList out = autograd::segment(
      s.text("boundary") == "block" ? autograd::Boundary::block : autograd::Boundary::sublayer, f,
      std::move(in));
  for (size_t i = 0; i < s.outs.size(); ++i) define(s, s.outs[i], std::move(out.at(i)), env, false);
}

void Machine::backward(const Statement& s, Env& env) {
  TensorList roots, seeds;
  for (size_t i = 0; i < s.ins.size(); ++i) {
    const Tensor& root = env.at(s.ins[i]);
    Tensor seed = Tensor::empty(device_, root.shape(), root.dtype(), Category::transient, "seed");
    write(seed, drawn("signed:" + std::to_string(s.natural("seed") + i), 1, static_cast<size_t>(root.numel())));
    roots.push_back(root);
    seeds.push_back(seed);
  }
  if (watcher_ && watcher_->backward(roots, seeds)) return;
  autograd::backward(roots, seeds);
  if (!device_.executes()) return;
  for (const auto& [name, t] : leaves_)
    if (const Tensor g = gradient_of(t); g.defined()) outcome_.gradients[name] = read(g);
}

// A step that runs out of memory, as one would try it: what it leaves must be what was there.
void Machine::attempt(const Statement& s, const Env& env) {
  if (watcher_ && !watcher_->tries()) return;
  struct Limit : EventSink {
    void on(const Event& e) override {
      if (e.kind == EventKind::allocated && --left == 0) arena->set_limit(1);
    }
    Arena* arena;
    int64_t left;
  } limit;
  limit.arena = &device_.arena();
  limit.left = s.integer("fail_at", 1);
  const ThreadState before;
  const size_t mark = watcher_ ? watcher_->mark() : 0, live = device_.arena().stats().requested;
  const Outcome kept = outcome_;
  device_.add_sink(&limit);
  try {
    Env inside = env;
    run_body(s.body, inside);
  } catch (const OutOfMemory&) {  // the one error that was asked for
    const std::string changed = before.differs(ThreadState(), false);
    if (!changed.empty()) outcome_.broken.push_back("running out of memory: " + changed);
  }
  device_.remove_sink(&limit);
  device_.arena().set_limit(0);
  autograd::grad_state().generator = {before.seed, before.stream};
  for (auto& [name, t] : leaves_) autograd::clear_grad(t);
  std::vector<std::string> broken = std::move(outcome_.broken);
  outcome_ = kept;
  outcome_.broken = std::move(broken);
  if (watcher_) watcher_->back_to(mark);
  const size_t left = device_.arena().stats().requested;
  if (left != live)
    outcome_.broken.push_back(
        fmt::format("a step that ran out of memory left {} bytes, {} before it", left, live));
}

void Machine::hook(const Statement& s, Env& env) {
  if (!autograd::grad_state().enabled) return;  // evaluated without gradients
  if (s.text("kind") == "throw") {
    autograd::add_grad_hook(env.at(s.ins[0]),
                            [thrown = std::make_shared<bool>(false)](const Tensor&) -> Tensor {
                              if (std::exchange(*thrown, true)) return {};
                              throw Error(kThrown);
                            });
    return;
  }
  const auto scale = find_operation("scale")->call;
  Statement scaled{.word = "scale"};
  scaled.set("factor", s.number("factor"));
  const bool f64 = settings_.in_f64;
  autograd::add_grad_hook(env.at(s.ins[0]), [scale, scaled, f64](const Tensor& g) {
    const TensorList in{g};
    return scale({scaled, in, f64})[0];
  });
}

Outcome run_program(const Program& p, const Settings& settings, Watcher* watcher) {
  struct Log : EventSink {
    void on(const Event& e) override { events.push_back(e); }
    std::vector<Event> events;
  } log;
  DeviceSpec spec = spec_for(settings);
  for (const Statement& s : p.body)
    if (s.word == "try")  // a segment for each allocation: a limit is felt at the next one
      spec.memory.small_limit = spec.memory.small_segment = spec.memory.large_segment =
          spec.memory.segment_round = spec.memory.granularity;
  const std::unique_ptr<Device> made = settings.device == DeviceKind::cuda
                                           ? gpu_under_test().make(spec)
                                           : std::make_unique<Device>(settings.device, spec);
  Device& device = *made;
  device.add_sink(&log);
  Machine machine(device, settings, watcher);
  machine.number(p);
  autograd::grad_state().generator = {7, 0};
  {
    const Scope restored;
    const autograd::CheckpointScope policy(settings.policy);
    const autograd::AutocastScope precision(
        run_type(dtype_from_name(p.header.text("autocast", "f32")), settings.in_f64));
    const autograd::FusionScope fusions(autograd::FusionSet::parse(p.header.text("fuse", "none")));
    const PhaseScope phase(Phase::forward);
    device.begin_step(0);
    Env env;
    machine.run_all(p.body, env);
    Outcome& o = machine.outcome();
    if (device.executes()) {
      for (const auto& [name, t] : env)
        if (t.defined()) o.last[name] = read(t);
    }
    device.end_step();
  }
  machine.forget();
  Outcome o = std::move(machine.outcome());
  o.live_bytes = device.arena().stats().requested;
  o.events = std::move(log.events);
  device.remove_sink(&log);
  return o;
}

}  // namespace reckon::differential
