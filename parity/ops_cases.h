// A single operation run from a golden file: its inputs, attributes and outputs by name. The tables below say
// how each operation of the files is computed here.
#pragma once

#include <map>

#include "parity/cases.h"

namespace reckon::parity {

class OpRun {
 public:
  explicit OpRun(Case& file);

  Case& file;
  Json attrs;
  bool f64, f32;
  Tolerance tolerance;  // of everything the run compares; runners may loosen it with a reason from the data

  // An input; floating ones but `mask` collect a gradient.
  const Tensor& in(const std::string& name);
  Tensor optional(const std::string& name);
  double number(const char* name) const;
  int64_t integer(const char* name) const;
  bool flag(const char* name) const { return attrs.value(name, false); }
  void out(const std::string& name, Tensor t) { outputs_[name] = std::move(t); }

  // Largest magnitude of a tensor of the file; smallest root mean square over the last axis.
  double largest(const std::string& tensor) const;
  double smallest_row(const std::string& tensor) const;

  // Runs backward from the outputs and compares outputs and gradients.
  void finish(Books* books);

 private:
  std::map<std::string, Tensor> inputs_, outputs_;
};

using OpRunner = void (*)(OpRun&);
struct NamedRunner {
  const char* op;
  OpRunner run;
};

std::span<const NamedRunner> tensor_op_runners();  // outputs and gradients
std::span<const NamedRunner> step_runners();       // optimizers, clipping, schedules, casts, loss scaling

}  // namespace reckon::parity
