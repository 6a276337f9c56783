#include "autograd/grad_mode.h"

#include "runtime/core/error.h"

namespace reckon::autograd {

std::string_view name_of(CheckpointPolicy p) {
  switch (p) {
    case CheckpointPolicy::none:
      return "none";
    case CheckpointPolicy::selective:
      return "selective";
    case CheckpointPolicy::sublayer:
      return "sublayer";
    case CheckpointPolicy::block:
      return "block";
  }
  return "?";
}

CheckpointPolicy checkpoint_policy_from_name(std::string_view name) {
  for (auto p : {CheckpointPolicy::none, CheckpointPolicy::selective, CheckpointPolicy::sublayer,
                 CheckpointPolicy::block})
    if (name == name_of(p)) return p;
  raise_error(fmt::format("unknown checkpoint policy '{}': expected none, selective, sublayer or block", name));
}

GradState& grad_state() {
  thread_local GradState state;
  return state;
}

}  // namespace reckon::autograd
