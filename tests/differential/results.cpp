#include "tests/differential/results.h"

#include "tests/differential/machine.h"

namespace reckon::differential {
namespace {

void print(const char* what, const std::map<std::string, ops::HostTensor>& tensors, std::string& out) {
  for (const auto& [name, t] : tensors) {
    std::string shape;
    for (int64_t d : t.shape) shape += (shape.empty() ? "" : "x") + std::to_string(d);
    out += fmt::format("{} {} {} {}", what, name, name_of(t.dtype), shape.empty() ? "-" : shape);
    for (double v : t.values) out += fmt::format(" {}", v);
    out += "\n";
  }
}

}  // namespace

std::string results_of(const Program& p) {
  std::string out;
  for (const bool in_f64 : {true, false}) {
    const Outcome o = run_program(p, {.in_f64 = in_f64});
    out += in_f64 ? "run f64\nraised" : "run own\nraised";
    for (const Raised& r : o.raised) out += " " + std::to_string(r.statement);
    out += "\n";
    print("value", o.values, out);
    print("gradient", o.gradients, out);
  }
  return out;
}

}  // namespace reckon::differential
