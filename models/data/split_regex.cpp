#include "models/data/split_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "models/data/files.h"
#include "runtime/core/error.h"

namespace reckon::data {
namespace {

std::string message_of(int error) {
  PCRE2_UCHAR text[256];
  return pcre2_get_error_message(error, text, sizeof text) < 0
             ? fmt::format("code {}", error)
             : std::string(reinterpret_cast<const char*>(text));
}

// PCRE2's \s also takes U+180E, which Unicode no longer counts as white space;
// tokenizer files mean the property.
std::string with_unicode_spaces(std::string_view pattern) {
  std::string out;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '\\' || i + 1 == pattern.size()) {
      out += pattern[i];
      continue;
    }
    const char escaped = pattern[++i];
    if (escaped == 's') {
      out += "\\p{White_Space}";
    } else if (escaped == 'S') {
      out += "\\P{White_Space}";
    } else {
      out += '\\';
      out += escaped;
    }
  }
  return out;
}

template <auto Free>
struct Freeing {
  template <class T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};

}  // namespace

struct SplitRegex::Code {
  std::unique_ptr<pcre2_code, Freeing<pcre2_code_free>> compiled;
  std::string name;
  bool jit = false;
};

SplitRegex::SplitRegex(std::string_view pattern, const std::string& name) {
  RECKON_CHECK(pattern.size() <= 65536, "{}: split pattern of {} bytes, expected at most 65536", name,
               pattern.size());
  const std::string translated = with_unicode_spaces(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto code = std::make_shared<Code>();
  code->name = name;
  code->compiled.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                     PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset,
                                     nullptr));
  RECKON_CHECK(code->compiled != nullptr, "{}: split pattern {} is not usable: {} at offset {}", name,
               in_quotes(pattern, 300), message_of(error), offset);
  // Interpretation gives the same pieces, only slower, where the library was built without a compiler.
  code->jit = pcre2_jit_compile(code->compiled.get(), PCRE2_JIT_COMPLETE) == 0;
  code_ = std::move(code);
}

void SplitRegex::for_each_piece(std::string_view text,
                                const std::function<void(std::string_view)>& piece) const {
  const std::unique_ptr<pcre2_match_data, Freeing<pcre2_match_data_free>> match(
      pcre2_match_data_create(1, nullptr));
  const std::unique_ptr<pcre2_match_context, Freeing<pcre2_match_context_free>> context(
      pcre2_match_context_create(nullptr));
  std::unique_ptr<pcre2_jit_stack, Freeing<pcre2_jit_stack_free>> stack;
  if (code_->jit) stack.reset(pcre2_jit_stack_create(32 << 10, 8 << 20, nullptr));
  if (!match || !context || (code_->jit && !stack)) throw std::bad_alloc();
  pcre2_set_match_limit(context.get(), 10'000'000);
  if (stack) pcre2_jit_stack_assign(context.get(), nullptr, stack.get());

  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  size_t emitted = 0, search = 0;
  while (search <= text.size()) {
    // A match with captures does not fit the one pair and returns 0; the pair is still set.
    const int found = pcre2_match(code_->compiled.get(), subject, text.size(), search, PCRE2_NO_UTF_CHECK,
                                  match.get(), context.get());
    if (found == PCRE2_ERROR_NOMATCH) break;
    RECKON_CHECK(found >= 0, "{}: the split pattern failed at byte {} of the text: {}", code_->name, search,
                 message_of(found));
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match.get());
    const size_t begin = range[0], end = range[1];
    RECKON_CHECK(begin >= emitted && end >= begin,
                 "{}: the split pattern moves a match's start with \\K, not supported", code_->name);
    if (begin > emitted) piece(text.substr(emitted, begin - emitted));
    if (end > begin) piece(text.substr(begin, end - begin));
    emitted = search = end;
    if (end == begin) {
      ++search;  // an empty match only cuts: look on after the next character
      while (search < text.size() && (static_cast<unsigned char>(text[search]) & 0xc0) == 0x80) ++search;
    }
  }
  if (emitted < text.size()) piece(text.substr(emitted));
}

}  // namespace reckon::data
