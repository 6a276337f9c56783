// The independent references (ops/reference.h) under a whole program: beside every call of an op, or in its place.
#pragma once

#include <string>
#include <vector>

#include "ops/op.h"

namespace reckon::differential {

// While it lives, every call on this thread, backward's included, is compared with the reference; in f64 only.
class CheckedCalls {
 public:
  explicit CheckedCalls(std::vector<std::string>& complaints);
  ~CheckedCalls();
  CheckedCalls(const CheckedCalls&) = delete;
  CheckedCalls& operator=(const CheckedCalls&) = delete;

  // Whether a function with a kink at zero was called there: no difference can judge its slope.
  bool at_kink() const;
};

// While it lives, the references compute what ops would have; views stay views. Without gradients.
class ReferenceCalls {
 public:
  ReferenceCalls();
  ~ReferenceCalls();
  ReferenceCalls(const ReferenceCalls&) = delete;
  ReferenceCalls& operator=(const ReferenceCalls&) = delete;

 private:
  ops::CallHook before_;
};

}  // namespace reckon::differential
