#include "models/qwen/folder.h"

#include <cstring>
#include <nlohmann/json.hpp>

#include "autograd/grad_mode.h"
#include "models/data/safetensors.h"
#include "models/data/strict_json.h"
#include "models/nn/stored.h"
#include "runtime/core/error.h"

namespace reckon::models {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr uint64_t kMaxConfigBytes = uint64_t{1} << 24;
constexpr std::string_view kPrefix = "model.";
// tokenizer.json or the older pair, and what only other programs read.
constexpr const char* kTokenizerFiles[] = {
    "tokenizer.json",          "vocab.json",         "merges.txt", "tokenizer_config.json", "added_tokens.json",
    "special_tokens_map.json", "chat_template.jinja"};

std::vector<int64_t> shape_of(const Tensor& t) { return {t.shape().begin(), t.shape().end()}; }

bool readable(const Qwen& model) { return model.parameters().all().at(0).tensor.device().executes(); }

bool has_weights(const fs::path& folder) {
  return fs::exists(folder / "model.safetensors") || fs::exists(folder / "model.safetensors.index.json");
}

std::string ours(const std::string& theirs) {
  return theirs.starts_with(kPrefix) ? theirs.substr(kPrefix.size()) : theirs;
}

std::string theirs(const std::string& ours) {
  return ours.starts_with("lm_head.") ? ours : std::string(kPrefix) + ours;
}

// The first few names of a list, and how many more there are.
std::string some(const std::vector<std::string>& names) {
  constexpr size_t kShown = 6;
  std::vector<std::string> quoted;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) quoted.push_back(data::in_quotes(names[i]));
  return fmt::format("{}{}", fmt::join(quoted, ", "),
                     names.size() > kShown ? fmt::format(" and {} more", names.size() - kShown) : "");
}

void write_text(const fs::path& path, std::string_view text) {
  data::ReplacingFile file(path);
  file.append(text);
  file.commit();
}

void copy_whole(const fs::path& from, const fs::path& to) {
  std::error_code ec;
  if (fs::equivalent(from, to, ec)) return;
  const data::MappedFile source = data::MappedFile::open(from);
  data::ReplacingFile file(to);
  file.append(source.bytes());
  file.commit();
}

std::string config_text(const Qwen& model, const ExportOptions& options) {
  Json j = Json::object();
  if (!options.base.empty()) {
    const fs::path path = fs::path(options.base) / "config.json";
    j = data::parse_strict_json(data::read_text_file(path, kMaxConfigBytes), path.string());
    for (const char* replaced : {"rope_parameters", "rope_scaling", "dtype"})
      j.erase(replaced);  // said by the entries below
  }
  const Json known = Json::parse(model.config().to_json());
  for (const auto& [key, value] : known.items()) j[key] = value;
  j["torch_dtype"] = options.dtype == DType::f32    ? "float32"
                     : options.dtype == DType::bf16 ? "bfloat16"
                                                    : "float16";
  return j.dump(2) + "\n";
}

}  // namespace

QwenConfig read_folder_config(const fs::path& folder) {
  RECKON_CHECK(fs::is_directory(folder), "the model folder '{}' does not exist or is not a folder",
               folder.string());
  RECKON_CHECK(fs::is_regular_file(folder / "config.json"), "the model folder '{}' has no config.json",
               folder.string());
  return QwenConfig::from_json_file((folder / "config.json").string());
}

void load_folder_weights(const fs::path& folder, const Qwen& model) {
  const bool values = readable(model);
  if (!values && !has_weights(folder)) return;
  const data::ShardedSafetensors file = data::read_sharded(folder);
  std::unordered_map<std::string, std::string> stored;  // our name -> the file's
  std::vector<std::string> unknown, missing;
  for (const std::string& name : file.names()) {
    const std::string own = ours(name);
    if (model.config().tied && own == "lm_head.weight") continue;
    if (!model.parameters().find(own)) unknown.push_back(name);
    const auto [twin, fresh] = stored.emplace(own, name);
    RECKON_CHECK(fresh, "{}: tensors {} and {} are the same weight", folder.string(),
                 data::in_quotes(twin->second), data::in_quotes(name));
  }
  for (const NamedParameter& p : model.parameters().all())
    if (!stored.count(p.name)) missing.push_back(theirs(p.name));
  RECKON_CHECK(missing.empty() && unknown.empty(), "the weights in '{}' do not fit its config.json:{}{}{}",
               folder.string(), missing.empty() ? "" : fmt::format(" missing are {}", some(missing)),
               missing.empty() || unknown.empty() ? "" : ";",
               unknown.empty() ? "" : fmt::format(" the model has no {}", some(unknown)));
  for (const NamedParameter& p : model.parameters().all()) {
    const std::string& name = stored.at(p.name);
    const data::TensorView& v = file.tensor(name);
    RECKON_CHECK(v.shape == shape_of(p.tensor), "{}: tensor '{}' has shape [{}], config.json asks for [{}]",
                 folder.string(), name, fmt::join(v.shape, ", "), fmt::join(shape_of(p.tensor), ", "));
    using data::StoredType;
    RECKON_CHECK(v.dtype == StoredType::F32 || v.dtype == StoredType::BF16 || v.dtype == StoredType::F16,
                 "{}: tensor '{}' is {}, weights must be F32, BF16 or F16", folder.string(), name,
                 data::name_of(v.dtype));
    RECKON_CHECK(p.tensor.dtype() == DType::f32 || p.tensor.dtype() == DType::bf16,
                 "weights of a folder become f32 or bf16 parameters, '{}' is {}", p.name, describe(p.tensor));
    if (!values) continue;
    fill_parameter(v, 0, p.tensor);
  }
}

std::vector<int64_t> folder_stop_ids(const fs::path& folder) {
  for (const char* name : {"generation_config.json", "config.json"}) {
    const fs::path path = folder / name;
    if (!fs::is_regular_file(path)) continue;
    const Json j = data::parse_strict_json(data::read_text_file(path, kMaxConfigBytes), path.string());
    if (!j.is_object() || !j.contains("eos_token_id") || j["eos_token_id"].is_null()) continue;
    const Json list = j["eos_token_id"].is_array() ? j["eos_token_id"] : Json::array({j["eos_token_id"]});
    std::vector<int64_t> ids;
    for (const Json& id : list) {
      RECKON_CHECK(id.is_number_integer(), "{}: eos_token_id must be an id or a list of ids, got {}",
                   path.string(), data::in_quotes(j["eos_token_id"].dump()));
      ids.push_back(id.get<int64_t>());
    }
    return ids;
  }
  return {};
}

bool folder_has_tokenizer(const fs::path& folder) {
  return fs::exists(folder / "tokenizer.json") ||
         (fs::exists(folder / "vocab.json") && fs::exists(folder / "merges.txt"));
}

data::Tokenizer open_tokenizer(const std::string& where) {
  if (where == "bytes") return data::Tokenizer::bytes();
  if (!fs::is_directory(where)) return data::Tokenizer::from_json(where);
  RECKON_CHECK(folder_has_tokenizer(where),
               "'{}' has neither tokenizer.json nor vocab.json with merges.txt: give --tokenizer FILE, or "
               "--tokenizer bytes",
               where);
  return data::Tokenizer::from_directory(where);
}

void export_folder(const fs::path& folder, const Qwen& model, const ExportOptions& options) {
  RECKON_CHECK(readable(model), "there are no values to export: the device has no data");
  RECKON_CHECK(options.dtype == DType::f32 || options.dtype == DType::bf16 || options.dtype == DType::f16,
               "weights are exported as f32, bf16 or f16, not {}", name_of(options.dtype));
  RECKON_CHECK(model.exportable(),
               "a trained bias of the output projection has no place in a Hugging Face folder");
  std::error_code ec;
  fs::create_directories(folder, ec);
  RECKON_CHECK(!ec && fs::is_directory(folder), "cannot create the folder '{}'", folder.string());
  autograd::NoGrad no_grad;
  data::SafetensorsWriter writer;
  writer.set_metadata("format", "pt");
  Tensor current;  // one merged weight at a time
  std::vector<std::byte> copy;
  std::span<const std::byte> bytes;
  for (const NamedParameter& p : model.parameters().all()) {
    if (model.is_adapter(p.name)) continue;
    RECKON_CHECK(p.tensor.dtype() == DType::f32, "only f32 parameters are exported, '{}' is {}", p.name,
                 describe(p.tensor));
    writer.add(theirs(p.name), data::stored_type(options.dtype), shape_of(p.tensor),
               [&, &p = p](uint64_t offset, std::span<std::byte> out) {
                 if (offset == 0) {
                   current = model.merged(p);
                   bytes = current.host_bytes(copy);
                 }
                 if (options.dtype == DType::f32)
                   std::memcpy(out.data(), bytes.data() + offset, out.size());
                 else
                   narrow(reinterpret_cast<const float*>(bytes.data()) + offset / 2, options.dtype, out);
               });
  }
  // A stale index would win over the new file for other readers; shards of an
  // earlier export are refused instead.
  RECKON_CHECK(!fs::exists(folder / "model.safetensors.index.json"),
               "'{}' holds a sharded model (model.safetensors.index.json): export to another folder",
               folder.string());
  writer.write(folder / "model.safetensors");
  current = {};
  write_text(folder / "config.json", config_text(model, options));
  const std::string& from = options.tokenizer;
  if (from.empty() || from == "bytes") return;
  if (!fs::is_directory(from)) return copy_whole(from, folder / "tokenizer.json");
  for (const char* name : kTokenizerFiles)
    if (fs::is_regular_file(fs::path(from) / name)) copy_whole(fs::path(from) / name, folder / name);
}

}  // namespace reckon::models
