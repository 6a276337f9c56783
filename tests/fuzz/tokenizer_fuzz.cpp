// tokenizer.json, then text through an accepted one: encoding may refuse, but ids that come out have bytes.
#include <algorithm>

#include "models/data/tokenizer.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace reckon;
  fuzz::accepts([&] {
    const auto tokenizer = data::Tokenizer::from_json_text(fuzz::text_of(data, size), "input");
    fuzz::require(tokenizer.vocab_size() > 0, "a vocabulary is not empty");
    const std::string_view own = fuzz::text_of(data, std::min<size_t>(size, 256));
    for (const std::string_view text : {std::string_view("Ab  1\n\xc3\xa9 x<|endoftext|>it's"), own})
      fuzz::accepts([&] {
        const auto ids = tokenizer.encode(text);
        for (const int64_t id : ids)
          fuzz::require(id >= 0 && id < tokenizer.vocab_size(), "ids are in the vocabulary");
        try {
          tokenizer.decode(ids);
        } catch (const Error&) {
          fuzz::require(false, "encoded ids can be decoded");
        }
      });
  });
  return 0;
}
