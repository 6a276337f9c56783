// Text to token ids and back. Two kinds: raw bytes, and the byte-level BPE of Qwen's tokenizer.json (or
// vocab.json with merges.txt). A value: copies share one read-only model, and encode() may be called from
// several threads. Called by the token file builder and by generation.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace reckon::data {

class Tokenizer {
 public:
  // Ids 0..255 are the bytes, 256 ends a text. Takes any bytes.
  static Tokenizer bytes();
  static Tokenizer from_json(const std::filesystem::path& path);
  static Tokenizer from_json_text(std::string_view json, const std::string& name);
  // Qwen's normaliser and split pattern are assumed, since these files do not state them; added tokens come
  // from a tokenizer_config.json text ("" when there is none).
  static Tokenizer from_vocab_and_merges(std::string_view vocab_json, std::string_view merges_txt,
                                         std::string_view config_json, const std::string& name);
  // tokenizer.json when present, else vocab.json with merges.txt.
  static Tokenizer from_directory(const std::filesystem::path& directory);

  // BPE: normalises to NFC and takes added tokens out first. Error naming the byte offset of invalid UTF-8.
  std::vector<int64_t> encode(std::string_view text) const;
  // The exact bytes of the ids, so an id sequence cut inside a character gives incomplete UTF-8.
  // Error on an id that no token has.
  std::string decode(std::span<const int64_t> ids, bool skip_special = false) const;

  int64_t vocab_size() const;  // one above the largest id
  bool has_end_of_text() const;
  int64_t end_of_text() const;      // id of <|endoftext|>; Error when the vocabulary has none
  const std::string& name() const;  // "bytes" or the file's name
  uint64_t fingerprint() const;     // changes with the content of the files, not with their place
  bool takes_any_bytes() const;     // true for bytes(): no UTF-8 needed

  struct Model;

 private:
  explicit Tokenizer(std::shared_ptr<const Model> model) : model_(std::move(model)) {}
  std::shared_ptr<const Model> model_;
};

}  // namespace reckon::data
