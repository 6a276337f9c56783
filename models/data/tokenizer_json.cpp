// Loading of tokenizer.json and of the older vocab.json with merges.txt. Whatever the files ask for that is not
// implemented is an Error: ids that differ silently would spoil a whole training run.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "models/data/files.h"
#include "models/data/strict_json.h"
#include "models/data/tokenizer.h"
#include "models/data/tokenizer_model.h"
#include "runtime/core/error.h"

namespace reckon::data {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxTokenizerBytes = 256ull << 20;
constexpr std::string_view kEndOfText = "<|endoftext|>";

const json& member(const json& object, const char* key) {
  static const json none;
  if (!object.is_object()) return none;
  const auto found = object.find(key);
  return found == object.end() ? none : *found;
}

std::string text_of(const json& value, const std::string& name, std::string_view what) {
  RECKON_CHECK(value.is_string(), "{}: {} is {}, expected a string", name, what, value.type_name());
  return value.get<std::string>();
}

bool flag_of(const json& object, const char* key, bool otherwise, const std::string& name) {
  const json& value = member(object, key);
  if (value.is_null()) return otherwise;
  RECKON_CHECK(value.is_boolean(), "{}: {} is {}, expected true or false", name, key, value.type_name());
  return value.get<bool>();
}

int64_t id_of(const json& value, const std::string& name, std::string_view token) {
  const bool valid = value.is_number_integer() &&
                     (!value.is_number_unsigned() || value.get<uint64_t>() <= INT32_MAX) &&
                     value.get<int64_t>() >= 0;
  RECKON_CHECK(valid, "{}: id of token {} is {}, expected a whole number from 0 to 2^31 - 1", name,
               in_quotes(token), in_quotes(value.dump(-1, ' ', true, json::error_handler_t::replace), 40));
  return value.get<int64_t>();
}

std::string type_of(const json& object, const std::string& name, std::string_view what) {
  RECKON_CHECK(object.is_object(), "{}: {} is {}, expected an object", name, what, object.type_name());
  return text_of(member(object, "type"), name, fmt::format("the type of {}", what));
}

void read_normalizer(const json& value, Tokenizer::Model& model) {
  if (value.is_null()) return;
  const std::string type = type_of(value, model.name, "normalizer");
  if (type == "Sequence") {
    const json& parts = member(value, "normalizers");
    RECKON_CHECK(parts.is_array(), "{}: normalizer Sequence has no list of normalizers", model.name);
    for (const json& part : parts) {
      RECKON_CHECK(type_of(part, model.name, "normalizer") == "NFC",
                   "{}: normalizer {} is not supported, expected NFC", model.name,
                   in_quotes(type_of(part, model.name, "normalizer")));
      model.nfc = true;
    }
    return;
  }
  RECKON_CHECK(type == "NFC", "{}: normalizer {} is not supported, expected NFC or none", model.name,
               in_quotes(type));
  model.nfc = true;
}

void read_split(const json& part, Tokenizer::Model& model) {
  const json& pattern = member(part, "pattern");
  RECKON_CHECK(member(pattern, "Regex").is_string(), "{}: Split pre-tokenizer without a Regex pattern",
               model.name);
  const std::string behavior = text_of(member(part, "behavior"), model.name, "behavior of Split");
  RECKON_CHECK(behavior == "Isolated" && !flag_of(part, "invert", false, model.name),
               "{}: Split with behavior {}{} is not supported, expected Isolated and not inverted", model.name,
               in_quotes(behavior), flag_of(part, "invert", false, model.name) ? ", inverted," : "");
  model.splits.emplace_back(member(pattern, "Regex").get_ref<const std::string&>(), model.name);
}

void read_pre_tokenizer(const json& value, Tokenizer::Model& model) {
  bool byte_level = false;
  const auto read_part = [&](const json& part) {
    const std::string type = type_of(part, model.name, "pre_tokenizer");
    RECKON_CHECK(!byte_level, "{}: pre-tokenizer {} follows ByteLevel, expected ByteLevel last", model.name,
                 in_quotes(type));
    if (type == "Split") return read_split(part, model);
    RECKON_CHECK(type == "ByteLevel", "{}: pre-tokenizer {} is not supported, expected Split and ByteLevel",
                 model.name, in_quotes(type));
    RECKON_CHECK(!flag_of(part, "add_prefix_space", true, model.name),
                 "{}: ByteLevel with add_prefix_space is not supported", model.name);
    if (flag_of(part, "use_regex", true, model.name)) model.splits.emplace_back(kGpt2SplitPattern, model.name);
    byte_level = true;
  };
  if (type_of(value, model.name, "pre_tokenizer") == "Sequence") {
    const json& parts = member(value, "pretokenizers");
    RECKON_CHECK(parts.is_array() && parts.size() <= 16,
                 "{}: pre-tokenizer Sequence without a list of up to 16 parts", model.name);
    for (const json& part : parts) read_part(part);
  } else {
    read_part(value);
  }
  RECKON_CHECK(byte_level, "{}: no ByteLevel pre-tokenizer, expected a byte-level BPE tokenizer", model.name);
}

Vocabulary read_vocabulary(const json& value, const std::string& name) {
  RECKON_CHECK(value.is_object() && !value.empty(), "{}: the vocabulary is {}, expected an object of token: id",
               name, value.is_object() ? "empty" : value.type_name());
  Vocabulary vocabulary;
  vocabulary.reserve(value.size());
  for (const auto& [token, id] : value.items())
    vocabulary.emplace(token, static_cast<int32_t>(id_of(id, name, token)));
  return vocabulary;
}

std::pair<std::string, std::string> split_merge(std::string_view text, size_t number, const std::string& name) {
  const size_t space = text.find(' ');
  const bool two = space != std::string_view::npos && space > 0 && space + 1 < text.size() &&
                   text.find(' ', space + 1) == std::string_view::npos;
  RECKON_CHECK(two, "{}: merge {} is {}, expected two tokens with one space between", name, number,
               in_quotes(text));
  return {std::string(text.substr(0, space)), std::string(text.substr(space + 1))};
}

MergeList read_merges(const json& value, const std::string& name) {
  RECKON_CHECK(value.is_array(), "{}: merges is {}, expected a list", name, value.type_name());
  MergeList merges;
  merges.reserve(value.size());
  for (const json& merge : value) {
    const size_t number = merges.size();
    if (merge.is_string()) {
      merges.push_back(split_merge(merge.get_ref<const std::string&>(), number, name));
      continue;
    }
    RECKON_CHECK(merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string(),
                 "{}: merge {} is neither \"a b\" nor [\"a\", \"b\"]", name, number);
    merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
  }
  return merges;
}

MergeList read_merges_text(std::string_view text, const std::string& name) {
  MergeList merges;
  bool first = true;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    const bool version = first && line.starts_with("#version");
    first = false;
    if (!version && !line.empty()) merges.push_back(split_merge(line, merges.size(), name));
  }
  return merges;
}

AddedToken read_added_token(const json& value, const json& id, const std::string& name) {
  AddedToken token;
  token.content = text_of(member(value, "content"), name, "content of an added token");
  RECKON_CHECK(!token.content.empty(), "{}: an added token has no content", name);
  token.id = id_of(id, name, token.content);
  token.single_word = flag_of(value, "single_word", false, name);
  token.lstrip = flag_of(value, "lstrip", false, name);
  token.rstrip = flag_of(value, "rstrip", false, name);
  token.special = flag_of(value, "special", false, name);
  token.normalized = flag_of(value, "normalized", !token.special, name);
  return token;
}

void check_unsupported(const json& root, const std::string& name) {
  const json& model = member(root, "model");
  const std::string type = type_of(model, name, "model");
  RECKON_CHECK(type == "BPE", "{}: model {} is not supported, expected BPE", name, in_quotes(type));
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const json& affix = member(model, key);
    RECKON_CHECK(affix.is_null() || (affix.is_string() && affix.get_ref<const std::string&>().empty()),
                 "{}: model option {} is not supported", name, key);
  }
  const json& dropout = member(model, "dropout");
  RECKON_CHECK(dropout.is_null() || (dropout.is_number() && dropout.get<double>() == 0),
               "{}: model option dropout is not supported", name);
  RECKON_CHECK(!flag_of(model, "byte_fallback", false, name), "{}: model option byte_fallback is not supported",
               name);
  for (const char* key : {"post_processor", "decoder"}) {
    const json& part = member(root, key);
    RECKON_CHECK(part.is_null() || type_of(part, name, key) == "ByteLevel",
                 "{}: {} {} is not supported, expected ByteLevel or none", name, key,
                 in_quotes(type_of(part, name, key)));
  }
  for (const char* key : {"truncation", "padding"})
    RECKON_CHECK(member(root, key).is_null(), "{}: {} is not supported, expected null", name, key);
}

}  // namespace

void fill_model(Tokenizer::Model& model, const Vocabulary& vocabulary, const MergeList& merges,
                const std::vector<AddedToken>& added) {
  model.is_bpe = true;
  // Larger gaps than this are no padding but a damaged file; the table below is as long as the largest id.
  const auto bound = static_cast<int64_t>(4 * (vocabulary.size() + added.size()) + 65536);
  const auto place = [&](int64_t id, std::string_view token) {
    RECKON_CHECK(id < bound, "{}: token {} has id {}, expected ids below {} for {} tokens", model.name,
                 in_quotes(token), id, bound, vocabulary.size() + added.size());
    const auto index = static_cast<size_t>(id);
    if (index >= model.known.size()) {
      model.known.resize(index + 1);
      model.special.resize(index + 1);
      model.bytes_of_id.resize(index + 1);
    }
    return index;
  };
  for (const auto& [token, id] : vocabulary) {
    const size_t index = place(id, token);
    RECKON_CHECK(!model.known[index], "{}: two tokens have id {}, one is {}", model.name, id, in_quotes(token));
    model.known[index] = true;
    const auto bytes = bytes_of_printable(token);
    model.bytes_of_id[index] = bytes.value_or(token);
    if (bytes && model.whole_piece_first) model.token_of_bytes.emplace(*bytes, id);
  }
  model.merges = BytePairMerges(vocabulary, merges, model.name);

  std::unordered_set<std::string_view> contents;
  std::unordered_set<int64_t> ids;
  for (const AddedToken& token : added) {
    RECKON_CHECK(contents.insert(token.content).second && ids.insert(token.id).second,
                 "{}: added token {} or its id {} is listed twice", model.name, in_quotes(token.content),
                 token.id);
    const auto same = vocabulary.find(token.content);
    const size_t index = place(token.id, token.content);
    RECKON_CHECK(same == vocabulary.end() ? !model.known[index] : same->second == token.id,
                 "{}: added token {} has id {}, which disagrees with the vocabulary", model.name,
                 in_quotes(token.content), token.id);
    model.known[index] = true;
    model.special[index] = token.special;
    model.bytes_of_id[index] = token.content;
    (token.normalized ? model.normalized_added : model.raw_added).add(token);
  }
  model.raw_added.finish();
  model.normalized_added.finish();
  model.vocab_size = static_cast<int64_t>(model.known.size());
  model.end_of_text = -1;
  if (const auto found = vocabulary.find(std::string(kEndOfText)); found != vocabulary.end())
    model.end_of_text = found->second;
  for (const AddedToken& token : added)
    if (token.content == kEndOfText) model.end_of_text = token.id;
}

Tokenizer Tokenizer::from_json_text(std::string_view text, const std::string& name) {
  const json root = parse_strict_json(text, name);
  RECKON_CHECK(root.is_object() && member(root, "model").is_object(),
               "{}: expected a tokenizer.json: an object with a model", name);
  auto model = std::make_shared<Model>();
  model->name = name;
  model->fingerprint = fnv1a(text);
  check_unsupported(root, name);
  read_normalizer(member(root, "normalizer"), *model);
  read_pre_tokenizer(member(root, "pre_tokenizer"), *model);
  const json& bpe = member(root, "model");
  model->whole_piece_first = flag_of(bpe, "ignore_merges", false, name);
  std::vector<AddedToken> added;
  const json& tokens = member(root, "added_tokens");
  RECKON_CHECK(tokens.is_null() || tokens.is_array(), "{}: added_tokens is {}, expected a list", name,
               tokens.type_name());
  for (const json& token : tokens) added.push_back(read_added_token(token, member(token, "id"), name));
  fill_model(*model, read_vocabulary(member(bpe, "vocab"), name), read_merges(member(bpe, "merges"), name),
             added);
  return Tokenizer(std::move(model));
}

Tokenizer Tokenizer::from_vocab_and_merges(std::string_view vocab_json, std::string_view merges_txt,
                                           std::string_view config_json, const std::string& name) {
  auto model = std::make_shared<Model>();
  model->name = name;
  model->fingerprint = fnv1a(config_json, fnv1a(merges_txt, fnv1a(vocab_json)));
  model->nfc = true;
  model->splits.emplace_back(kQwenSplitPattern, name);
  std::vector<AddedToken> added;
  if (!config_json.empty()) {
    const json config = parse_strict_json(config_json, name);
    const json& tokens = member(config, "added_tokens_decoder");
    RECKON_CHECK(tokens.is_null() || tokens.is_object(), "{}: added_tokens_decoder is {}, expected an object",
                 name, tokens.type_name());
    for (const auto& [id, token] : tokens.items()) {
      const bool digits =
          !id.empty() && id.size() <= 9 && id.find_first_not_of("0123456789") == std::string::npos;
      RECKON_CHECK(digits, "{}: added_tokens_decoder has key {}, expected a token id", name, in_quotes(id));
      added.push_back(read_added_token(token, json(std::stoll(id)), name));
    }
  }
  fill_model(*model, read_vocabulary(parse_strict_json(vocab_json, name), name),
             read_merges_text(merges_txt, name), added);
  return Tokenizer(std::move(model));
}

Tokenizer Tokenizer::from_json(const std::filesystem::path& path) {
  return from_json_text(read_text_file(path, kMaxTokenizerBytes), path.string());
}

Tokenizer Tokenizer::from_directory(const std::filesystem::path& directory) {
  if (std::filesystem::exists(directory / "tokenizer.json")) return from_json(directory / "tokenizer.json");
  const auto vocab = directory / "vocab.json", merges = directory / "merges.txt";
  RECKON_CHECK(std::filesystem::exists(vocab) && std::filesystem::exists(merges),
               "{} holds neither tokenizer.json nor vocab.json with merges.txt", directory.string());
  const auto config = directory / "tokenizer_config.json";
  return from_vocab_and_merges(
      read_text_file(vocab, kMaxTokenizerBytes), read_text_file(merges, kMaxTokenizerBytes),
      std::filesystem::exists(config) ? read_text_file(config, kMaxTokenizerBytes) : "", directory.string());
}

}  // namespace reckon::data
