// Gradients judged by central differences: the program evaluated op by op with the independent references, at
// its leaves a step to either side along a random direction, without backward.
//
// Backward does not see in-place writes, detached tensors, no_grad and gradients that are read: to it they are
// constants. The evaluation takes their values from a tape of the real run, and a write keeps what its target had
// moved by. A hook that scales a gradient scales the movement of its tensor.
#pragma once

#include <set>

#include "tests/differential/machine.h"

namespace reckon::differential {

// Looks on during the real run in f64 and writes the tape.
class Tape : public Watcher {
 public:
  explicit Tape(const Program& p);
  size_t mark() override { return entries.size(); }
  void back_to(size_t mark) override { entries.resize(mark); }
  Tensor made(const Statement& s, const std::string& name, const Tensor& t, bool constant) override;
  void before_write(const Tensor& target) override;
  void after_write(const Tensor& target) override;

  std::vector<ops::HostTensor> entries;
  std::map<std::string, double> hooked;  // factors of hooks, by the name they hang on
};

struct Slope {
  bool judged = false;  // false: there is a kink between the two sides
  std::string wrong;    // empty: backward's gradient agrees
};

// `real` is the run that wrote the tape; none of its backwards may have raised.
Slope judge_slope(const Program& p, const Tape& tape, const Outcome& real, uint64_t seed);

}  // namespace reckon::differential
