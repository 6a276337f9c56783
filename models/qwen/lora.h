// What a LoRA run is asked for (Hu et al.): adapters beside frozen weights. Called by the model, the run
// options and the parity cases.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace reckon::models {

struct LoraOptions {
  int64_t rank = 8;
  double alpha = 16;
  std::vector<std::string> targets{"q_proj", "v_proj"};  // of the attention and feed-forward projections
  bool train_head_bias = false;  // a bias on the output projection, trained beside the adapters
  uint64_t seed = 1;

  // "r=8,alpha=16,targets=q_proj,v_proj"; what is left out keeps its default. Error names
  // the part that is not understood.
  static LoraOptions parse(std::string_view text);
  std::string to_string() const;  // in the form that parse reads
};

}  // namespace reckon::models
