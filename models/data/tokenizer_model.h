// What a Tokenizer shares between its copies, and the loaders that fill it. Internal to the tokenizer's files.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "models/data/byte_pair.h"
#include "models/data/split_regex.h"
#include "models/data/tokenizer.h"

namespace reckon::data {

struct AddedToken {
  std::string content;
  int64_t id = 0;
  bool single_word = false, lstrip = false, rstrip = false, normalized = false, special = false;
};

// Finds added tokens in text: leftmost, longest first.
class AddedTokenMatcher {
 public:
  struct Match {
    size_t begin, end;
    int64_t id;
  };
  void add(const AddedToken& token);
  void finish();
  // Calls text(segment) and token(id) in order; either kind may be absent.
  void split(std::string_view input, const std::function<void(std::string_view)>& text,
             const std::function<void(int64_t)>& token) const;

 private:
  const AddedToken* at(std::string_view input, size_t position) const;
  std::array<std::vector<AddedToken>, 256> by_first_byte_;
};

// Ids of recent pieces: one slot per hash value, the newcomer replaces. Bounded, and never changes a result.
class PieceCache {
 public:
  bool append(std::string_view piece, std::vector<int64_t>& ids) const;
  void store(std::string_view piece, std::span<const int32_t> ids);

 private:
  static constexpr size_t kSlots = 1u << 14, kMaxPieceBytes = 48;
  struct Slot {
    std::string piece;
    std::vector<int32_t> ids;
  };
  mutable std::mutex mutex_;
  std::vector<Slot> slots_ = std::vector<Slot>(kSlots);
};

struct Tokenizer::Model {
  std::string name = "bytes";
  uint64_t fingerprint = 0;
  int64_t vocab_size = 257;
  int64_t end_of_text = 256;  // -1: none
  // The rest is empty for the byte tokenizer.
  bool is_bpe = false;
  bool nfc = false;
  bool whole_piece_first = false;  // "ignore_merges": a piece that is a token needs no merging
  std::vector<SplitRegex> splits;
  BytePairMerges merges;
  std::unordered_map<std::string, int32_t> token_of_bytes;  // filled only for whole_piece_first
  AddedTokenMatcher raw_added, normalized_added;
  std::vector<std::string> bytes_of_id;  // "" with known_[id] false where no token has the id
  std::vector<bool> known, special;
  mutable PieceCache cache;
};

constexpr std::string_view kQwenSplitPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kGpt2SplitPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

using MergeList = std::vector<std::pair<std::string, std::string>>;

// Puts vocabulary, merges and added tokens into the model and checks them against each other.
void fill_model(Tokenizer::Model& model, const Vocabulary& vocabulary, const MergeList& merges,
                const std::vector<AddedToken>& added);

}  // namespace reckon::data
