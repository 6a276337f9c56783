// What is fused (--fuse): a scope beside the checkpoint and autocast scopes. A fusion chooses between
// compositions of ops in model code, never inside a kernel, so its effect shows in the ledger as other ops,
// other saves and fewer launches. Segments remember the set they ran under and are recomputed under it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace reckon::autograd {

enum class Fusion : uint8_t {
  attention,      // no score matrix; sigmoid gate and attention output in one op each
  norm_linear,    // all projections that read one norm, which is rebuilt in backward
  transition,     // feed-forward: only input and pre-activations are kept
  outer_product,  // never holds [.., r, r, c, c]
  triangle,       // triangle multiplication with its norms and gates
  cross_entropy,  // output projection and loss without logits
  adamw,          // all tensors in one launch
  dropout_add,    // dropout and residual sum, no mask kept
  n_fusions       // how many there are
};

class FusionSet {
 public:
  bool has(Fusion f) const { return (bits_ >> static_cast<uint32_t>(f)) & 1u; }
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

FusionSet& fusion_state();  // of the calling thread
bool fuses(Fusion f);       // whether it is in force

class FusionScope {
 public:
  explicit FusionScope(FusionSet set) : before_(fusion_state()) { fusion_state() = set; }
  ~FusionScope() { fusion_state() = before_; }
  FusionScope(const FusionScope&) = delete;
  FusionScope& operator=(const FusionScope&) = delete;

 private:
  FusionSet before_;
};

}  // namespace reckon::autograd
