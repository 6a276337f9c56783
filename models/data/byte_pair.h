// Byte-level byte-pair encoding: the printable alphabet that stands for the 256 bytes in vocabulary files, and
// the merge table. Called by Tokenizer; knows nothing of Unicode, special tokens or splitting.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace reckon::data {

// The bytes a vocabulary entry stands for, or nothing when it has a character outside the 256-letter alphabet.
std::optional<std::string> bytes_of_printable(std::string_view token);
// The printable letter (UTF-8) of each byte: printable Latin-1 stands for itself,
// the 68 others for U+0100 onwards.
const std::array<std::string, 256>& printable_alphabet();

using Vocabulary = std::unordered_map<std::string, int32_t>;

class BytePairMerges {
 public:
  BytePairMerges() = default;
  // Merges in rank order, as vocabulary entries. Error when a byte, a part or a
  // result is not in the vocabulary.
  BytePairMerges(const Vocabulary& vocabulary, const std::vector<std::pair<std::string, std::string>>& merges,
                 const std::string& name);

  // Appends the ids of one piece: lowest rank first, leftmost among equals. O(n log n) in the piece's bytes.
  void encode(std::string_view piece, std::vector<int32_t>& ids) const;

 private:
  struct Merge {
    uint32_t rank;
    int32_t id;
  };
  const Merge* find(int32_t left, int32_t right) const;

  std::array<int32_t, 256> byte_ids_{};
  std::unordered_map<uint64_t, Merge> merges_;
};

}  // namespace reckon::data
