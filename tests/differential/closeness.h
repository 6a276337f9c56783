// How far low precision may stray: the program in f64 with every result moved by the type's rounding error, several
// times, shows what its conditioning makes of them. What is much further from f64 than that is wrong.
#pragma once

#include <string>
#include <vector>

#include "tests/differential/machine.h"

namespace reckon::differential {

// Half a unit in the last place of the roughest type that a program uses, relative to the value.
double roughness(const Program& p);

class Closeness {
 public:
  // `exact`: the f64 run without checkpoints.
  Closeness(const Program& p, const Outcome& exact);
  // What of `o` is too far, in words.
  std::vector<std::string> too_far(const Outcome& o);

 private:
  void more_runs(int n);
  std::string compare(const std::string& what, const ops::HostTensor& exact, const ops::HostTensor& got,
                      const std::vector<const ops::HostTensor*>& moved) const;
  std::vector<std::string> compare_all(const Outcome& o) const;

  const Program& p_;
  const Outcome& exact_;
  double roughness_;
  bool f16_;
  bool overflows_ = false;  // f16 may not hold what is in between
  std::vector<Outcome> moved_;
};

}  // namespace reckon::differential
