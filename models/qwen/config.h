// Sizes of a Qwen2, Qwen2.5 or Qwen3 decoder: presets of the published checkpoints,
// or a Hugging Face config.json.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace reckon::models {

struct QwenConfig {
  std::string name;
  bool qk_norm = false;  // Qwen3
  bool qkv_bias = true;  // Qwen2, Qwen2.5
  bool tied = true;      // output projection shares the embedding table
  int64_t vocab = 0, hidden = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, intermediate = 0;
  double rms_eps = 1e-6;
  double rope_theta = 1e6;
  double initializer_range = 0.02;  // standard deviation of initial weights

  void validate() const;         // Error on sizes that cannot work
  int64_t n_parameters() const;  // closed form (per layer, embedding, head, final norm)
  int64_t n_parameters_per_layer() const;

  static QwenConfig preset(const std::string& name);  // Error lists the known names
  static std::vector<std::string> preset_names();
  static QwenConfig from_json_file(const std::string& path);
  // `name` stands for the file in messages.
  static QwenConfig from_json_text(const std::string& text, const std::string& name);
  std::string to_json() const;  // Hugging Face's field names
};

}  // namespace reckon::models
