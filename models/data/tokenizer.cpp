#include "models/data/tokenizer.h"

#include <unicode/normalizer2.h>
#include <unicode/stringpiece.h>
#include <unicode/uchar.h>

#include <algorithm>

#include "models/data/files.h"
#include "models/data/tokenizer_model.h"
#include "runtime/core/error.h"

namespace reckon::data {
namespace {

// Both take well-formed UTF-8 only and move `position` over one character.
UChar32 character_at(std::string_view text, size_t& position) {
  const auto lead = static_cast<unsigned char>(text[position++]);
  if (lead < 0x80) return lead;
  UChar32 c = lead & (lead < 0xe0 ? 0x1f : lead < 0xf0 ? 0x0f : 0x07);
  while (position < text.size() && (static_cast<unsigned char>(text[position]) & 0xc0) == 0x80)
    c = (c << 6) | (static_cast<unsigned char>(text[position++]) & 0x3f);
  return c;
}

UChar32 character_before(std::string_view text, size_t& position) {
  do {
    --position;
  } while (position > 0 && (static_cast<unsigned char>(text[position]) & 0xc0) == 0x80);
  size_t start = position;
  return character_at(text, start);
}

bool is_word_character(UChar32 c) {
  return u_hasBinaryProperty(c, UCHAR_ALPHABETIC) || u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL) ||
         (U_GET_GC_MASK(c) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0;
}

bool is_whole_word(std::string_view text, size_t begin, size_t end) {
  size_t before = begin, after = end;
  return (begin == 0 || !is_word_character(character_before(text, before))) &&
         (end == text.size() || !is_word_character(character_at(text, after)));
}

std::string to_nfc(std::string_view text) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* nfc = icu::Normalizer2::getNFCInstance(status);
  std::string out;
  icu::StringByteSink<std::string> sink(&out, static_cast<int32_t>(text.size()));
  if (U_SUCCESS(status))
    nfc->normalizeUTF8(0, icu::StringPiece(text.data(), static_cast<int32_t>(text.size())), sink, nullptr,
                       status);
  RECKON_CHECK(U_SUCCESS(status), "Unicode normalisation failed: {}", u_errorName(status));
  return out;
}

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

}  // namespace

void AddedTokenMatcher::add(const AddedToken& token) {
  by_first_byte_[static_cast<unsigned char>(token.content[0])].push_back(token);
}

void AddedTokenMatcher::finish() {
  for (auto& tokens : by_first_byte_)
    std::ranges::stable_sort(tokens, std::greater<>(), [](const AddedToken& t) { return t.content.size(); });
}

const AddedToken* AddedTokenMatcher::at(std::string_view input, size_t position) const {
  for (const AddedToken& token : by_first_byte_[static_cast<unsigned char>(input[position])])
    if (input.substr(position, token.content.size()) == token.content) return &token;
  return nullptr;
}

void AddedTokenMatcher::split(std::string_view input, const std::function<void(std::string_view)>& text,
                              const std::function<void(int64_t)>& token) const {
  size_t done = 0;
  for (size_t i = 0; i < input.size();) {
    const AddedToken* found = at(input, i);
    if (!found) {
      ++i;
      continue;
    }
    size_t begin = i, end = i + found->content.size();
    i = end;
    if (found->single_word && !is_whole_word(input, begin, end)) continue;
    if (found->lstrip) {
      for (size_t p = begin; p > done && u_isUWhiteSpace(character_before(input, p));) begin = p;
    }
    if (found->rstrip) {
      for (size_t p = end; p < input.size() && u_isUWhiteSpace(character_at(input, p));) end = p;
    }
    if (begin > done) text(input.substr(done, begin - done));
    token(found->id);
    done = i = end;
  }
  if (done < input.size()) text(input.substr(done));
}

bool PieceCache::append(std::string_view piece, std::vector<int64_t>& ids) const {
  if (piece.size() > kMaxPieceBytes) return false;
  const std::lock_guard lock(mutex_);
  const Slot& slot = slots_[fnv1a(piece) % kSlots];
  if (slot.piece != piece) return false;
  ids.insert(ids.end(), slot.ids.begin(), slot.ids.end());
  return true;
}

void PieceCache::store(std::string_view piece, std::span<const int32_t> ids) {
  if (piece.size() > kMaxPieceBytes) return;
  const std::lock_guard lock(mutex_);
  Slot& slot = slots_[fnv1a(piece) % kSlots];
  slot.piece = piece;
  slot.ids.assign(ids.begin(), ids.end());
}

namespace {

void encode_piece(const Tokenizer::Model& model, std::string_view piece, std::vector<int64_t>& ids) {
  if (piece.empty() || model.cache.append(piece, ids)) return;
  std::vector<int32_t> own;
  const auto whole =
      model.whole_piece_first ? model.token_of_bytes.find(std::string(piece)) : model.token_of_bytes.end();
  if (whole != model.token_of_bytes.end())
    own.push_back(whole->second);
  else
    model.merges.encode(piece, own);
  model.cache.store(piece, own);
  ids.insert(ids.end(), own.begin(), own.end());
}

void split_and_encode(const Tokenizer::Model& model, size_t level, std::string_view text,
                      std::vector<int64_t>& ids) {
  if (level == model.splits.size()) return encode_piece(model, text, ids);
  model.splits[level].for_each_piece(
      text, [&](std::string_view piece) { split_and_encode(model, level + 1, piece, ids); });
}

}  // namespace

Tokenizer Tokenizer::bytes() {
  static const auto model = [] {
    auto m = std::make_shared<Model>();
    m->fingerprint = fnv1a("bytes, 256 ends a text");
    return m;
  }();
  return Tokenizer(model);
}

std::vector<int64_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int64_t> ids;
  if (!model_->is_bpe) {
    ids.reserve(text.size());
    for (char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  RECKON_CHECK(text.size() <= (1u << 29),
               "text of {} bytes is above the limit of 512 MiB for one text: split it", text.size());
  const size_t invalid = find_invalid_utf8(text);
  RECKON_CHECK(invalid == std::string_view::npos, "text is not UTF-8: byte 0x{:02x} at offset {}",
               static_cast<unsigned char>(text[invalid]), invalid);
  const auto token = [&](int64_t id) { ids.push_back(id); };
  const auto normalized = [&](std::string_view segment) { split_and_encode(*model_, 0, segment, ids); };
  const auto raw = [&](std::string_view segment) {
    if (!model_->nfc || is_ascii(segment)) return model_->normalized_added.split(segment, normalized, token);
    model_->normalized_added.split(to_nfc(segment), normalized, token);
  };
  model_->raw_added.split(text, raw, token);
  return ids;
}

std::string Tokenizer::decode(std::span<const int64_t> ids, bool skip_special) const {
  std::string text;
  for (size_t i = 0; i < ids.size(); ++i) {
    const int64_t id = ids[i];
    const bool known =
        id >= 0 && id < model_->vocab_size && (!model_->is_bpe || model_->known[static_cast<size_t>(id)]);
    RECKON_CHECK(known,
                 "id {} at position {} has no token: {} has ids below {} (a model may have more rows than its "
                 "tokenizer; sample only among these)",
                 id, i, model_->name, model_->vocab_size);
    const auto index = static_cast<size_t>(id);
    if (!model_->is_bpe) {
      if (id < 256) text += static_cast<char>(id);  // the end of a text has no bytes
    } else if (!skip_special || !model_->special[index]) {
      text += model_->bytes_of_id[index];
    }
  }
  return text;
}

int64_t Tokenizer::vocab_size() const { return model_->vocab_size; }
bool Tokenizer::has_end_of_text() const { return model_->end_of_text >= 0; }
int64_t Tokenizer::end_of_text() const {
  RECKON_CHECK(has_end_of_text(), "tokenizer {} has no <|endoftext|> token", model_->name);
  return model_->end_of_text;
}
const std::string& Tokenizer::name() const { return model_->name; }
uint64_t Tokenizer::fingerprint() const { return model_->fingerprint; }
bool Tokenizer::takes_any_bytes() const { return !model_->is_bpe; }

}  // namespace reckon::data
