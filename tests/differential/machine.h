// Runs a program on a device and tells what came out: values, gradients, errors, events, what was left alive. It
// never judges.
//
// Words besides those of operations.h:
//   x = leaf shape= type= values= scale= grad=(1, 0, frozen) fixed=(1: its type in f64 too) layout=(swap:A:B, step:AXIS:STEP:OFFSET, spread:AXIS)
//   a,b = segment x y boundary=(block, sublayer) { ... return t u }    a checkpoint segment; captures leaves
//   no_grad { ... }    autocast type= { ... }
//   try fail_at= { ... }        memory ends with that allocation; whatever happened, names, gradients and random numbers
//                               made inside are gone behind it
//   backward t u seed=     of sum(t * s + u * s'), s and s' drawn from the seed
//   hook t kind=(scale, throw) factor=                  a gradient hook; one that throws does so once
//   g = grad x    clear_grad    drop t u
// `expect` of a statement: error or hook where it must raise, maybe_hook where it may.
// A statement outside of bodies that raises is noted and the program goes on; one whose inputs are missing because
// of that is skipped.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "autograd/grad_mode.h"
#include "ops/reference.h"
#include "runtime/device.h"
#include "tests/differential/program.h"

namespace reckon::differential {

struct Settings {
  DeviceKind device = DeviceKind::cpu;
  autograd::CheckpointPolicy policy = autograd::CheckpointPolicy::none;
  int threads = 1;
  int isa_level = -1;  // the machine's
  bool in_f64 = false;
  bool keep_values = true;  // read every tensor when it is made
  bool gpu_plans = false;   // of a dry run: it imitates the GPU
};

// The emulated GPU, in the program that has one.
struct GpuUnderTest {
  DeviceSpec (*spec)() = nullptr;
  std::unique_ptr<Device> (*make)(const DeviceSpec&) = nullptr;
};
GpuUnderTest& gpu_under_test();

enum class RaisedKind : uint8_t { error, memory, overwritten, hook };
struct Raised {
  int statement;  // its number in the order of the text
  RaisedKind kind;
  std::string line, message;
  friend bool operator==(const Raised& a, const Raised& b) {
    return a.statement == b.statement && a.kind == b.kind;
  }
};

struct Outcome {
  std::map<std::string, ops::HostTensor> values;     // of named tensors, as they were made
  std::map<std::string, ops::HostTensor> last;       // of those alive at the end
  std::map<std::string, ops::HostTensor> gradients;  // of leaves that have one, as the last backward left them
  std::vector<Raised> raised;
  std::vector<std::string> broken;  // state of the thread that an error left changed
  std::vector<Event> events;
  size_t live_bytes = 0;
};

using Env = std::map<std::string, Tensor>;

// Looks on while a program runs, and may replace what it makes.
struct Watcher {
  virtual ~Watcher() = default;
  virtual bool skips(int /*statement*/) { return false; }
  // A statement that raises leaves nothing: back to what was noted before it.
  virtual size_t mark() { return 0; }
  virtual void back_to(size_t /*mark*/) {}
  // One that is trained, or of drawn values that are no mask and no index.
  virtual void leaf(const std::string& /*name*/, const Tensor& /*t*/, bool /*trained*/, bool /*drawn*/) {}
  virtual Tensor made(const Statement& /*s*/, const std::string& /*name*/, const Tensor& t, bool /*constant*/) {
    return t;
  }
  virtual void before_write(const Tensor& /*target*/) {}
  virtual void after_write(const Tensor& /*target*/) {}
  // True: backward is not to run.
  virtual bool backward(const TensorList& /*roots*/, const TensorList& /*seeds*/) { return false; }
  virtual void gradients_cleared() {}
  virtual bool tries() { return true; }  // false: a `try` is left out
};

class Machine {
 public:
  Machine(Device& device, const Settings& settings, Watcher* watcher = nullptr);

  // Runs one statement, raising what it raises.
  void run(const Statement& s, Env& env);
  // Runs the statements of a program, noting what they raise.
  void run_all(const std::vector<Statement>& body, Env& env);
  void number(const Program& p);  // before run_all

  Outcome& outcome() { return outcome_; }
  const std::map<std::string, Tensor>& leaves() const { return leaves_; }
  void forget() { leaves_.clear(); }

 private:
  void run_body(const std::vector<Statement>& body, Env& env);
  void run_scope(const std::vector<Statement>& body, Env& env);
  void operation(const Statement& s, Env& env);
  void leaf(const Statement& s, Env& env);
  void segment(const Statement& s, Env& env);
  void backward(const Statement& s, Env& env);
  void hook(const Statement& s, Env& env);
  void attempt(const Statement& s, const Env& env);
  bool special(const Statement& s, Env& env);
  void define(const Statement& s, const std::string& name, Tensor t, Env& env, bool constant);
  bool inputs_missing(const Statement& s, const Env& env) const;
  void note(const Statement& s, std::exception_ptr error);

  Device& device_;
  Settings settings_;
  Watcher* watcher_;
  Outcome outcome_;
  std::map<std::string, Tensor> leaves_;
  std::map<const Statement*, int> numbers_;
  int no_grad_ = 0, inside_ = 0;  // depths of no_grad, and of bodies that raise as one
};

// The whole of it: a fresh device, the program, its outcome, everything dropped.
Outcome run_program(const Program& p, const Settings& settings, Watcher* watcher = nullptr);

DeviceSpec spec_for(const Settings& settings);
Tensor gradient_of(const Tensor& leaf);  // undefined, too, where a backward that raised left a part of one

}  // namespace reckon::differential
