#include "models/data/byte_pair.h"

#include <queue>

#include "models/data/files.h"
#include "runtime/core/error.h"

namespace reckon::data {
namespace {

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
}

// Code point of each byte's letter; all are below U+0144.
constexpr auto kLetters = [] {
  std::array<uint16_t, 256> letters{};
  uint16_t next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte)
    letters[byte] = stands_for_itself(byte) ? static_cast<uint16_t>(byte) : next++;
  return letters;
}();

constexpr auto kByteOfLetter = [] {
  std::array<int16_t, 0x144> bytes{};
  for (auto& b : bytes) b = -1;
  for (unsigned byte = 0; byte < 256; ++byte) bytes[kLetters[byte]] = static_cast<int16_t>(byte);
  return bytes;
}();

constexpr uint64_t pair_key(int32_t left, int32_t right) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}

}  // namespace

std::optional<std::string> bytes_of_printable(std::string_view token) {
  std::string bytes;
  for (size_t i = 0; i < token.size();) {
    const auto lead = static_cast<unsigned char>(token[i]);
    unsigned letter = lead;
    if (lead >= 0x80) {
      // Letters above ASCII are two-byte sequences; anything longer is outside the alphabet.
      if (lead < 0xc2 || lead > 0xdf || i + 1 >= token.size()) return std::nullopt;
      letter = ((lead & 0x1fu) << 6) | (static_cast<unsigned char>(token[i + 1]) & 0x3fu);
      ++i;
    }
    ++i;
    if (letter >= kByteOfLetter.size() || kByteOfLetter[letter] < 0) return std::nullopt;
    bytes += static_cast<char>(kByteOfLetter[letter]);
  }
  return bytes;
}

const std::array<std::string, 256>& printable_alphabet() {
  static const auto letters = [] {
    std::array<std::string, 256> texts;
    for (size_t byte = 0; byte < 256; ++byte) {
      const unsigned letter = kLetters[byte];
      if (letter < 0x80) {
        texts[byte] = {static_cast<char>(letter)};
      } else {
        texts[byte] = {static_cast<char>(0xc0u | (letter >> 6)), static_cast<char>(0x80u | (letter & 0x3fu))};
      }
    }
    return texts;
  }();
  return letters;
}

BytePairMerges::BytePairMerges(const Vocabulary& vocabulary,
                               const std::vector<std::pair<std::string, std::string>>& merges,
                               const std::string& name) {
  for (size_t byte = 0; byte < 256; ++byte) {
    const auto found = vocabulary.find(printable_alphabet()[byte]);
    RECKON_CHECK(
        found != vocabulary.end(),
        "{}: the vocabulary has no token for byte 0x{:02x}, expected all 256: not a byte-level vocabulary?",
        name, byte);
    byte_ids_[byte] = found->second;
  }
  const auto id_of = [&](const std::string& token, size_t rank) {
    const auto found = vocabulary.find(token);
    RECKON_CHECK(found != vocabulary.end(), "{}: merge {} needs token {}, which is not in the vocabulary", name,
                 rank, in_quotes(token));
    return found->second;
  };
  merges_.reserve(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    const uint64_t key = pair_key(id_of(left, rank), id_of(right, rank));
    const Merge merge{static_cast<uint32_t>(rank), id_of(left + right, rank)};
    const auto [slot, added] = merges_.emplace(key, merge);
    RECKON_CHECK(added, "{}: merge {} ({} {}) repeats merge {}", name, rank, in_quotes(left), in_quotes(right),
                 slot->second.rank);
  }
}

const BytePairMerges::Merge* BytePairMerges::find(int32_t left, int32_t right) const {
  const auto found = merges_.find(pair_key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

void BytePairMerges::encode(std::string_view piece, std::vector<int32_t>& ids) const {
  // A doubly linked list of symbols and a queue of candidate merges. A candidate is stale when either of its
  // symbols has changed since; it is then skipped, so no search in the queue is needed.
  struct Symbol {
    int32_t id, previous, next;
  };
  struct Candidate {
    uint32_t rank;
    int32_t position, left, right;
    bool operator<(const Candidate& other) const {
      return std::pair(rank, position) > std::pair(other.rank, other.position);
    }
  };
  RECKON_CHECK(piece.size() < (1u << 30), "a piece of {} bytes has no split point within the limit of 1 GiB",
               piece.size());
  const auto n = static_cast<int32_t>(piece.size());
  if (n == 0) return;
  std::vector<Symbol> symbols(piece.size());
  for (int32_t i = 0; i < n; ++i)
    symbols[i] = {byte_ids_[static_cast<unsigned char>(piece[i])], i - 1, i + 1 < n ? i + 1 : -1};
  std::priority_queue<Candidate> queue;
  const auto offer = [&](int32_t position) {
    if (position < 0 || symbols[position].next < 0) return;
    const int32_t left = symbols[position].id, right = symbols[symbols[position].next].id;
    if (const Merge* merge = find(left, right)) queue.push({merge->rank, position, left, right});
  };
  for (int32_t i = 0; i + 1 < n; ++i) offer(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[best.position];
    if (left.id != best.left || left.next < 0 || symbols[left.next].id != best.right) continue;
    Symbol& right = symbols[left.next];
    left.id = find(best.left, best.right)->id;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) symbols[left.next].previous = best.position;
    offer(left.previous);
    offer(best.position);
  }
  for (int32_t i = 0; i >= 0; i = symbols[i].next) ids.push_back(symbols[i].id);
}

}  // namespace reckon::data
