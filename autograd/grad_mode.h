// Switches of the calling thread that decide what a call records: gradients on or off, the checkpoint policy,
// and the stream of random numbers. All are restored by scope.
#pragma once

#include <cstdint>
#include <string_view>

namespace reckon::autograd {

// What backward keeps and what it recomputes (--checkpoint).
enum class CheckpointPolicy : uint8_t {
  none,       // every op keeps what it declares
  selective,  // outputs of cheap ops (norms, gates, activations, casts) are rebuilt; no matrix product is
  sublayer,   // each residual branch is run again
  block,      // each block is run again
};
std::string_view name_of(CheckpointPolicy p);
CheckpointPolicy checkpoint_policy_from_name(std::string_view name);

// Every random op takes its own stream; recompute rewinds to the state the segment began with.
struct Generator {
  uint64_t seed = 0;
  uint64_t next_stream = 0;
};

struct GradState {
  bool enabled = true;
  CheckpointPolicy policy = CheckpointPolicy::none;
  Generator generator;
};
GradState& grad_state();

class NoGrad {
 public:
  NoGrad() : before_(grad_state().enabled) { grad_state().enabled = false; }
  ~NoGrad() { grad_state().enabled = before_; }
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};

class EnableGrad {
 public:
  EnableGrad() : before_(grad_state().enabled) { grad_state().enabled = true; }
  ~EnableGrad() { grad_state().enabled = before_; }
  EnableGrad(const EnableGrad&) = delete;
  EnableGrad& operator=(const EnableGrad&) = delete;

 private:
  bool before_;
};

class CheckpointScope {
 public:
  explicit CheckpointScope(CheckpointPolicy p) : before_(grad_state().policy) { grad_state().policy = p; }
  ~CheckpointScope() { grad_state().policy = before_; }
  CheckpointScope(const CheckpointScope&) = delete;
  CheckpointScope& operator=(const CheckpointScope&) = delete;

 private:
  CheckpointPolicy before_;
};

// Puts the generator back when the scope is left by an exception: what failed drew no numbers.
class GeneratorGuard {
 public:
  GeneratorGuard() : before_(grad_state().generator) {}
  ~GeneratorGuard() {
    if (!kept_) grad_state().generator = before_;
  }
  GeneratorGuard(const GeneratorGuard&) = delete;
  GeneratorGuard& operator=(const GeneratorGuard&) = delete;
  void keep() { kept_ = true; }  // it went well: the generator stays where it is

 private:
  Generator before_;
  bool kept_ = false;
};

}  // namespace reckon::autograd
