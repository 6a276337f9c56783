// Where the program is: module path, phase, op and step of the calling thread. Everything that is allocated or
// launched takes its tag from here.
#pragma once

#include <string_view>

#include "runtime/core/intern.h"
#include "runtime/events/event.h"

namespace reckon {

struct Context {
  NameId module{};
  NameId op{};
  Phase phase = Phase::init;
  int64_t step = 0;
};

Context& context();  // of this thread

// Restores the whole context on exit. The constructors change one thing each.
class Scope {
 public:
  Scope() : before_(context()) {}
  ~Scope() { context() = before_; }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  Context before_;
};

class ModuleScope : Scope {
 public:
  explicit ModuleScope(NameId child) { context().module = join_path(context().module, child); }
  explicit ModuleScope(std::string_view child) : ModuleScope(intern(child)) {}
};

class PhaseScope : Scope {
 public:
  explicit PhaseScope(Phase phase) { context().phase = phase; }
};

}  // namespace reckon
