// Token files: the ids of a text corpus behind a small header, memory-mapped, and the batches drawn from them.
// Called by the language-model training loop. Batches are a pure function of seed and step, so resuming needs
// only the step number.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "models/data/files.h"
#include "models/data/tokenizer.h"

namespace reckon::data {

// Tokenizes a text file, or every file of a directory (not its subdirectories) in the order of their names with
// end_of_text between them, and writes the result to `output`.
void build_token_file(const std::filesystem::path& input, const std::filesystem::path& output,
                      const Tokenizer& tokenizer);

class TokenFile {
 public:
  static TokenFile open(const std::filesystem::path& path);
  // The buffer must outlive the object; `name` stands for the file in messages.
  static TokenFile parse(std::span<const std::byte> buffer, std::string name);
  // Opens `output` when it was built from the same input (names, sizes, times) by the same tokenizer; builds it
  // otherwise. `rebuilt`, if given, tells which.
  static TokenFile open_or_build(const std::filesystem::path& input, const std::filesystem::path& output,
                                 const Tokenizer& tokenizer, bool* rebuilt = nullptr);

  uint64_t n_tokens() const { return n_tokens_; }
  int64_t vocab_size() const { return vocab_size_; }
  int bytes_per_token() const { return bytes_per_token_; }  // 2 when every id fits in 16 bits, else 4
  const std::string& tokenizer_name() const { return tokenizer_name_; }
  uint64_t tokenizer_fingerprint() const { return tokenizer_fingerprint_; }
  const std::string& file_name() const { return file_name_; }
  // Copies ids [first, first + out.size()); Error on an id outside the vocabulary.
  void read(uint64_t first, std::span<int64_t> out) const;

 private:
  MappedFile mapped_;
  std::string file_name_, tokenizer_name_;
  std::span<const std::byte> ids_;
  uint64_t n_tokens_ = 0, tokenizer_fingerprint_ = 0, source_fingerprint_ = 0;
  int64_t vocab_size_ = 0;
  int bytes_per_token_ = 2;
};

// ids and labels are [batch, seq] row-major; labels[t] is the token after ids[t], so
// the model must not shift again.
struct TokenBatch {
  int64_t batch = 0, seq = 0;
  std::vector<int64_t> ids, labels;
};

enum class TokenPart : uint8_t { all, train, validation };  // validation is the last 10 % of the tokens

// Rows of `train` and `all` start anywhere in the part, drawn independently for each step and row (row r of a
// step does not depend on the batch size). Rows of `validation` are consecutive windows that wrap round at the
// end. The token file must outlive the object.
class TokenBatches {
 public:
  TokenBatches(const TokenFile& file, int64_t batch, int64_t seq, uint64_t seed,
               TokenPart part = TokenPart::train);

  TokenBatch at(uint64_t step) const;
  // Steps after which every validation window was seen once.
  uint64_t n_steps_of_one_pass() const;

 private:
  const TokenFile* file_;
  int64_t batch_, seq_;
  uint64_t seed_;
  TokenPart part_;
  uint64_t begin_ = 0, end_ = 0;
};

}  // namespace reckon::data
