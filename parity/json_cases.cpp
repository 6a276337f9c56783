// JSON files beside the cases: FLOP counts from a dry run, parameter counts, tokenizer cases. All exact.
#include <cmath>
#include <fstream>
#include <sstream>

#include "models/data/tokenizer.h"
#include "models/qwen/qwen.h"
#include "parity/cases.h"
#include "runtime/device.h"

namespace reckon::parity {
namespace {

namespace fs = std::filesystem;

void check_integer(Report& report, const std::string& name, int64_t got, const Json& expected) {
  report.check(name, std::fabs(static_cast<double>(got - expected.get<int64_t>())), 0);
}

Books count(const fs::path& file, Settings settings) {
  Device device(DeviceKind::meta, DeviceSpec::this_machine());
  Report unused;
  Case c(file, settings, device, unused);
  Books books;
  run_case(c, &books);
  return books;
}

// Counts of the plain composition, whatever the flags of the run: fused ops do
// other work, and have their own row.
void flop_counts(const fs::path& path, const Json& cases, Settings settings, Report& report) {
  using autograd::CheckpointPolicy;
  report.kind = "matmul FLOPs, dry run";
  settings.checkpoint = CheckpointPolicy::none;
  settings.fuse = autograd::FusionSet::none();
  for (const auto& [name, expected] : cases.items()) {
    const fs::path file = path.parent_path() / (name + ".safetensors");
    if (!fs::exists(file)) {
      report.problems.push_back(
          fmt::format("{}: there is no {} beside the counts", name, file.filename().string()));
      continue;
    }
    const Books plain = count(file, settings);
    for (const auto& [key, value] : expected.items()) {
      const std::string row = name + " " + key;
      if (key == "forward")
        check_integer(report, row, plain.forward_flops, value);
      else if (key == "backward" || key == "backward_stored_probs")
        check_integer(report, row, plain.backward_flops, value);
      else if (key == "forward_matmuls")
        check_integer(report, row, plain.forward_products, value);
      else if (key == "backward_matmuls")
        check_integer(report, row, plain.backward_products, value);
      else if (key == "checkpoint_each_layer_backward_with_recompute") {
        Settings block = settings;
        block.checkpoint = CheckpointPolicy::block;
        check_integer(report, row, count(file, block).backward_flops, value);
      } else if (key == "backward_recomputed_scores") {
        Settings fused = settings;
        fused.fuse = autograd::FusionSet::parse("attention");
        const Books f = count(file, fused);
        // A causal fused attention counts the visible pairs only; the file's formula counts all.
        if (f.forward_flops == plain.forward_flops)
          check_integer(report, row, f.backward_flops, value);
        else
          report.ignored.emplace_back(row,
                                      "the fused causal attention counts visible pairs, the file all of them");
      } else {
        report.problems.push_back(fmt::format("{}: unknown count", row));
      }
    }
  }
}

void parameter_counts(const Json& models, Report& report) {
  report.kind = "parameters, dry run";
  for (const auto& [name, m] : models.items()) {
    Json config = m;
    config["model_type"] = m.value("qk_norm", false) ? "qwen3" : "qwen2";
    config["attention_bias"] = m.at("qkv_bias");
    const auto c = models::QwenConfig::from_json_text(config.dump(), name);
    Device device(DeviceKind::meta, DeviceSpec::this_machine());
    const models::Qwen model(device, c, 1);
    int64_t layer0 = 0, matrices = 0, tables = 0;
    for (const auto& p : model.parameters().all()) {
      if (p.name.starts_with("layers.0.")) layer0 += p.tensor.numel();
      if (p.name.starts_with("layers.") && p.tensor.rank() == 2) matrices += p.tensor.numel();
      if (!p.name.starts_with("layers.") && p.tensor.rank() == 2) tables += p.tensor.numel();
    }
    const int64_t total = model.parameters().n_elements();
    check_integer(report, name + " params_total", total, m.at("params_total"));
    check_integer(report, name + " closed form", c.n_parameters(), m.at("params_total"));
    check_integer(report, name + " params_per_layer", layer0, m.at("params_per_layer"));
    check_integer(report, name + " params_non_embedding", total - tables, m.at("params_non_embedding"));
    check_integer(report, name + " matmul_weights_incl_head", matrices + c.vocab * c.hidden,
                  m.at("matmul_weights_incl_head"));
  }
}

void append_utf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else {
    out += static_cast<char>(0xC0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

// Bytes as byte-level vocabularies write them: printable Latin-1 as itself, the others from U+0100 on in order.
std::string byte_letters(const std::string& bytes) {
  std::string out;
  for (const char ch : bytes) {
    const auto byte = static_cast<unsigned char>(ch);
    const auto printable = [](unsigned b) {
      return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
    };
    uint32_t rank = 0;
    for (unsigned b = 0; b < byte; ++b) rank += printable(b) ? 0 : 1;
    append_utf8(out, printable(byte) ? byte : 0x100 + rank);
  }
  return out;
}

void tokenizer_cases(const fs::path& path, const Json& j, Report& report) {
  report.kind = "tokenizer";
  const auto tokenizer = data::Tokenizer::from_json(path.parent_path() / j.at("tokenizer").get<std::string>());
  size_t n = 0;
  for (const Json& c : j.at("cases")) {
    const std::string row = fmt::format("case {} ", n++);
    for (const auto& [key, value] : c.items())
      if (key != "text" && key != "ids" && key != "tokens" && key != "decoded")
        report.problems.push_back(row + key + ": unknown field");
    const std::string text = c.at("text");
    const auto expected = c.at("ids").get<std::vector<int64_t>>();
    const std::vector<int64_t> ids = tokenizer.encode(text);
    report.check(row + "ids", ids == expected ? 0 : 1, 0);
    if (c.contains("decoded"))
      report.check(row + "decoded", tokenizer.decode(expected) == c["decoded"].get<std::string>() ? 0 : 1, 0);
    if (!c.contains("tokens")) continue;
    std::vector<std::string> tokens;
    for (const int64_t id : ids)
      tokens.push_back(byte_letters(tokenizer.decode(std::span<const int64_t>(&id, 1))));
    report.check(row + "tokens", tokens == c["tokens"].get<std::vector<std::string>>() ? 0 : 1, 0);
  }
}

}  // namespace

void run_json_case(const fs::path& path, const Settings& settings, Report& report) {
  std::ifstream in(path);
  RECKON_CHECK(in.good(), "cannot read {}", path.string());
  std::stringstream text;
  text << in.rdbuf();
  Json j;
  try {
    j = Json::parse(text.str());
  } catch (const Json::exception& e) {
    raise_error(fmt::format("{} is not JSON: {}", path.string(), e.what()));
  }
  RECKON_CHECK(j.is_object(), "{}: expected a JSON object", path.string());
  if (j.contains("cases") && j.contains("tokenizer")) return tokenizer_cases(path, j, report);
  if (j.contains("cases") && j["cases"].is_object()) return flop_counts(path, j["cases"], settings, report);
  if (j.contains("models")) return parameter_counts(j["models"], report);
  if (j.contains("records")) return run_flops_records(j["records"], report);
  if (j.contains("added_tokens") && j.contains("model")) {
    report.not_a_case = "a vocabulary; its cases name it";
  } else {
    raise_error(
        "cannot run: the JSON file has none of the known layouts (cases, models, records, a tokenizer)");
  }
}

}  // namespace reckon::parity
