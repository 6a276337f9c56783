// Says what is wrong with how the project runs a program; it has no opinion on programs. The demands:
//   in f64 without checkpoints every call agrees with its reference, and gradients with central differences;
//   in the program's own types every policy, with one and two threads, gives the same bits and raises the same errors;
//   values and gradients are no further from f64 than the types and the program's conditioning explain;
//   every run has the events of a dry run, closes its books and leaves no byte and no state behind;
//   an in-place write ends in the right gradient or in an error that says so.
#pragma once

#include <string>
#include <vector>

#include "tests/differential/program.h"

namespace reckon::differential {

struct Verdict {
  std::vector<std::string> complaints;
  std::vector<std::string> ops;  // that ran
  bool has_slope = false;        // gradients were judged by differences
  bool at_kink = false;          // they could not be: a kink lies within the step
  bool overwritten = false;      // backward refused
};

Verdict judge(const Program& p);
// On the emulated GPU, which has no f64: policies, dry runs, and closeness to f64 on the cpu.
Verdict judge_on_gpu(const Program& p);

}  // namespace reckon::differential
