// The switches a user flips: what is fused. A fusion chooses between compositions of ops in model code, so its
// effect shows in the ledger as other ops, other saves and fewer launches.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace reckon::models {

enum class Fusion : uint32_t {
  attention = 1,       // no score matrix; sigmoid gate and attention output in one op each
  norm_linear = 2,     // all projections that read one norm, which is rebuilt in backward
  transition = 4,      // feed-forward: only input and pre-activations are kept
  outer_product = 8,   // never holds [.., r, r, c, c]
  triangle = 16,       // triangle multiplication with its norms and gates
  cross_entropy = 32,  // output projection and loss without logits
  adamw = 64,          // all tensors in one launch
  dropout_add = 128,   // dropout and residual sum, no mask kept
};

class FusionSet {
 public:
  bool has(Fusion f) const { return (bits_ & static_cast<uint32_t>(f)) != 0; }
  static FusionSet none() { return {}; }
  static FusionSet all();
  // "none", "all" or a comma-separated list of names; Error names the unknown one and lists the known.
  static FusionSet parse(std::string_view text);
  std::string to_string() const;
  static std::string names();  // comma-separated, for help texts
  friend bool operator==(FusionSet, FusionSet) = default;

 private:
  uint32_t bits_ = 0;
};

}  // namespace reckon::models
