// Splits text by a tokenizer file's regular expression: matches become pieces and so does what lies between
// them. Called by Tokenizer with valid UTF-8 only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace reckon::data {

class SplitRegex {
 public:
  // `name` stands for the tokenizer file in messages. Unicode character classes; \s means White_Space.
  SplitRegex(std::string_view pattern, const std::string& name);

  void for_each_piece(std::string_view text, const std::function<void(std::string_view)>& piece) const;

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
};

}  // namespace reckon::data
