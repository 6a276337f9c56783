#include "models/qwen/config.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "runtime/core/error.h"
#include "runtime/core/json_excerpt.h"
#include "runtime/core/nearest_name.h"

namespace reckon::models {
namespace {

using Json = nlohmann::json;

struct Row {
  const char* name;
  bool qwen3, tied;
  int64_t hidden, layers, heads, kv, head_dim, ffn, vocab;
  double eps;
};

// The published config.json files; parameter totals are tested against the published counts.
constexpr Row kPublished[] = {
    {"qwen2.5-0.5b", false, true, 896, 24, 14, 2, 64, 4864, 151936, 1e-6},
    {"qwen2.5-1.5b", false, true, 1536, 28, 12, 2, 128, 8960, 151936, 1e-6},
    {"qwen2.5-3b", false, true, 2048, 36, 16, 2, 128, 11008, 151936, 1e-6},
    {"qwen2.5-7b", false, false, 3584, 28, 28, 4, 128, 18944, 152064, 1e-6},
    {"qwen2.5-14b", false, false, 5120, 48, 40, 8, 128, 13824, 152064, 1e-5},
    {"qwen2.5-32b", false, false, 5120, 64, 40, 8, 128, 27648, 152064, 1e-5},
    {"qwen2.5-72b", false, false, 8192, 80, 64, 8, 128, 29568, 152064, 1e-5},
    {"qwen3-0.6b", true, true, 1024, 28, 16, 8, 128, 3072, 151936, 1e-6},
    {"qwen3-1.7b", true, true, 2048, 28, 16, 8, 128, 6144, 151936, 1e-6},
    {"qwen3-4b", true, true, 2560, 36, 32, 8, 128, 9728, 151936, 1e-6},
    {"qwen3-8b", true, false, 4096, 36, 32, 8, 128, 12288, 151936, 1e-6},
    {"qwen3-14b", true, false, 5120, 40, 40, 8, 128, 17408, 151936, 1e-6},
    {"qwen3-32b", true, false, 5120, 64, 64, 8, 128, 25600, 151936, 1e-6},
    // Our own: small enough to train on two cores in seconds. The vocabulary is the byte tokenizer's.
    {"demo", false, true, 128, 4, 4, 2, 32, 352, 257, 1e-6},
    {"tiny", false, true, 32, 2, 4, 2, 8, 48, 257, 1e-6},
    {"tiny3", true, false, 32, 2, 4, 2, 16, 48, 257, 1e-6},
};

// In int64_t for the answer, in double to see beforehand whether it fits.
template <class N>
N count_per_layer(const QwenConfig& c) {
  const N hidden = N(c.hidden), q = N(c.heads) * N(c.head_dim), kv = N(c.kv_heads) * N(c.head_dim);
  return hidden * q + N(2) * hidden * kv + q * hidden + N(3) * hidden * N(c.intermediate) + N(2) * hidden +
         (c.qkv_bias ? q + N(2) * kv : N(0)) + (c.qk_norm ? N(2) * N(c.head_dim) : N(0));
}

template <class N>
N count_all(const QwenConfig& c) {
  return N(c.vocab) * N(c.hidden) * N(c.tied ? 1 : 2) + N(c.layers) * count_per_layer<N>(c) + N(c.hidden);
}

}  // namespace

void QwenConfig::validate() const {
  for (const auto& [what, v] : {std::pair{"vocab_size", vocab},
                                {"hidden_size", hidden},
                                {"num_hidden_layers", layers},
                                {"num_attention_heads", heads},
                                {"num_key_value_heads", kv_heads},
                                {"head_dim", head_dim},
                                {"intermediate_size", intermediate}})
    RECKON_CHECK(v >= 1 && v <= (int64_t{1} << 32), "{}: {} must be between 1 and 2^32, got {}", name, what, v);
  RECKON_CHECK(
      heads % kv_heads == 0,
      "{}: {} attention heads cannot share {} key/value heads: the first must be a multiple of the second",
      name, heads, kv_heads);
  RECKON_CHECK(head_dim % 2 == 0,
               "{}: rotary embedding pairs elements of a head, so head_dim must be even, got {}", name,
               head_dim);
  RECKON_CHECK(rms_eps > 0 && rope_theta > 0, "{}: rms_norm_eps and rope_theta must be positive", name);
  RECKON_CHECK(count_all<double>(*this) < 0x1p60,
               "{}: {:.3g} parameters are more than 2^60: is a size in config.json wrong?", name,
               count_all<double>(*this));
}

int64_t QwenConfig::n_parameters_per_layer() const { return count_per_layer<int64_t>(*this); }

int64_t QwenConfig::n_parameters() const { return count_all<int64_t>(*this); }

QwenConfig QwenConfig::preset(const std::string& name) {
  for (const Row& r : kPublished) {
    if (name != r.name) continue;
    QwenConfig c;
    c.name = r.name;
    c.qk_norm = r.qwen3;
    c.qkv_bias = !r.qwen3;
    c.tied = r.tied;
    c.vocab = r.vocab;
    c.hidden = r.hidden;
    c.layers = r.layers;
    c.heads = r.heads;
    c.kv_heads = r.kv;
    c.head_dim = r.head_dim;
    c.intermediate = r.ffn;
    c.rms_eps = r.eps;
    // The published 0.02 suits widths in the thousands; narrow models start at 1 / sqrt(hidden).
    if (r.vocab < 1000) c.initializer_range = 1.0 / std::sqrt(static_cast<double>(r.hidden));
    return c;
  }
  raise_error(fmt::format("unknown Qwen preset '{}': expected one of {}, or a config.json.{}", name,
                          fmt::join(preset_names(), ", "), did_you_mean(name, preset_names())));
}

std::vector<std::string> QwenConfig::preset_names() {
  std::vector<std::string> names;
  for (const Row& r : kPublished) names.emplace_back(r.name);
  return names;
}

QwenConfig QwenConfig::from_json_file(const std::string& path) {
  std::ifstream in(path);
  RECKON_CHECK(in.good(), "cannot read the model config '{}'", path);
  std::stringstream text;
  text << in.rdbuf();
  return from_json_text(text.str(), path);
}

QwenConfig QwenConfig::from_json_text(const std::string& text, const std::string& path) {
  Json j;
  try {
    j = Json::parse(text);
  } catch (const Json::exception& e) {
    raise_error(fmt::format("{} is not JSON: {}", path, e.what()));
  }
  RECKON_CHECK(j.is_object(), "{}: expected a JSON object", path);
  const auto integer = [&](const char* key, int64_t fallback) -> int64_t {
    if (!j.contains(key) || j[key].is_null()) {
      RECKON_CHECK(fallback >= 0, "{}: field '{}' is missing", path, key);
      return fallback;
    }
    RECKON_CHECK(
        j[key].is_number_integer() && !(j[key].is_number_unsigned() && j[key].get<uint64_t>() > INT64_MAX),
        "{}: field '{}' must be an integer below 2^63, got {}", path, key, excerpt(j[key]));
    return j[key].get<int64_t>();
  };
  const auto real = [&](const char* key, double fallback) {
    if (!j.contains(key)) return fallback;
    RECKON_CHECK(j[key].is_number(), "{}: field '{}' must be a number, got {}", path, key, excerpt(j[key]));
    return j[key].get<double>();
  };
  const auto boolean = [&](const char* key, bool fallback) {
    if (!j.contains(key)) return fallback;
    RECKON_CHECK(j[key].is_boolean(), "{}: field '{}' must be true or false, got {}", path, key,
                 excerpt(j[key]));
    return j[key].get<bool>();
  };
  RECKON_CHECK(!j.contains("model_type") || j["model_type"].is_string(),
               "{}: field 'model_type' must be a text, got {}", path, excerpt(j["model_type"]));
  const std::string type = j.value("model_type", std::string("qwen2"));
  RECKON_CHECK(type == "qwen2" || type == "qwen3",
               "{}: model_type '{}' is not supported: expected qwen2 or qwen3", path, type);
  RECKON_CHECK(!boolean("use_sliding_window", false), "{}: sliding-window attention is not supported", path);
  RECKON_CHECK(j.value("hidden_act", Json("silu")) == Json("silu"),
               "{}: hidden_act {} is not supported: expected silu", path, j["hidden_act"].dump());
  // Newer files keep what concerns the rotary embedding in an object of its own, older ones beside the rest.
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!j.contains(key) || j[key].is_null()) continue;
    RECKON_CHECK(j[key].is_object(), "{}: field '{}' must be an object, got {}", path, key, j[key].dump());
    for (const char* kind : {"rope_type", "type"})
      RECKON_CHECK(j[key].value(kind, Json("default")) == Json("default"),
                   "{}: {} of {} {} is not supported: expected default", path, key, kind, j[key][kind].dump());
    if (j[key].contains("rope_theta")) j["rope_theta"] = j[key]["rope_theta"];
  }
  QwenConfig c;
  c.name = path;
  c.qk_norm = type == "qwen3";
  c.qkv_bias = c.qk_norm ? boolean("attention_bias", false) : true;
  c.tied = boolean("tie_word_embeddings", false);
  c.vocab = integer("vocab_size", -1);
  c.hidden = integer("hidden_size", -1);
  c.layers = integer("num_hidden_layers", -1);
  c.heads = integer("num_attention_heads", -1);
  c.kv_heads = integer("num_key_value_heads", c.heads);
  RECKON_CHECK(c.heads > 0 && (j.contains("head_dim") || c.hidden % c.heads == 0),
               "{}: hidden_size {} does not divide by {} heads and no head_dim is given", path, c.hidden,
               c.heads);
  c.head_dim = integer("head_dim", c.hidden / c.heads);
  c.intermediate = integer("intermediate_size", -1);
  c.rms_eps = real("rms_norm_eps", 1e-6);
  c.rope_theta = real("rope_theta", 10000.0);
  c.initializer_range = real("initializer_range", 0.02);
  c.validate();
  return c;
}

std::string QwenConfig::to_json() const {
  return Json{{"architectures", {qk_norm ? "Qwen3ForCausalLM" : "Qwen2ForCausalLM"}},
              {"model_type", qk_norm ? "qwen3" : "qwen2"},
              {"vocab_size", vocab},
              {"hidden_size", hidden},
              {"num_hidden_layers", layers},
              {"num_attention_heads", heads},
              {"num_key_value_heads", kv_heads},
              {"head_dim", head_dim},
              {"intermediate_size", intermediate},
              {"rms_norm_eps", rms_eps},
              {"rope_theta", rope_theta},
              {"initializer_range", initializer_range},
              {"tie_word_embeddings", tied},
              {"attention_bias", qkv_bias},
              {"hidden_act", "silu"}}
      .dump(2);
}

}  // namespace reckon::models
