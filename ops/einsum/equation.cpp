#include "ops/einsum/equation.h"

#include <algorithm>
#include <cctype>

namespace reckon::ops {
namespace {

Labels letters_of(std::string_view part, std::string_view text) {
  Labels out;
  for (char c : part) {
    if (c == ' ') continue;
    RECKON_CHECK(c != '.', "einsum '{}': '...' is not offered, write the axes out", text);
    RECKON_CHECK(std::isalpha(static_cast<unsigned char>(c)),
                 "einsum '{}': '{}' is no label; expected letters, ',' and '->'", text, c);
    out.emplace_back(1, c);
  }
  return out;
}

Labels words_of(std::string_view part, std::string_view text) {
  Labels out;
  std::string word;
  const auto end_word = [&] {
    if (!word.empty()) out.push_back(std::move(word));
    word.clear();
  };
  for (char c : part) {
    if (c == ' ') {
      end_word();
      continue;
    }
    RECKON_CHECK(std::isalnum(static_cast<unsigned char>(c)) || c == '_',
                 "einsum '{}': '{}' cannot be part of a name; expected words, ',' and '->'", text, c);
    word += c;
  }
  end_word();
  return out;
}

template <class Split>
Equation parse(std::string_view text, Split labels_of) {
  Equation e{std::string(text), {}, {}};
  const size_t arrow = text.find("->");
  RECKON_CHECK(arrow != std::string_view::npos, "einsum '{}' lacks '->' and the result's axes", text);
  std::string_view left = text.substr(0, arrow);
  while (true) {
    const size_t comma = left.find(',');
    e.operands.push_back(labels_of(left.substr(0, comma), text));
    if (comma == std::string_view::npos) break;
    left.remove_prefix(comma + 1);
  }
  e.output = labels_of(text.substr(arrow + 2), text);
  for (const std::string& label : e.output) {
    RECKON_CHECK(std::count(e.output.begin(), e.output.end(), label) == 1,
                 "einsum '{}': the result names '{}' twice", text, label);
    RECKON_CHECK(
        std::any_of(e.operands.begin(), e.operands.end(), [&](const Labels& o) { return contains(o, label); }),
        "einsum '{}': the result's '{}' is in no operand", text, label);
  }
  return e;
}

}  // namespace

Equation parse_letters(std::string_view text) { return parse(text, letters_of); }
Equation parse_words(std::string_view text) { return parse(text, words_of); }

std::map<std::string, int64_t> bind_extents(const Equation& e, std::span<const Tensor> operands) {
  RECKON_CHECK(operands.size() == e.operands.size(), "einsum '{}' names {} operands, got {}", e.text,
               e.operands.size(), operands.size());
  RECKON_CHECK(operands.size() == 1 || operands.size() == 2,
               "einsum '{}': one or two operands are offered, got {}; split it in steps", e.text,
               operands.size());
  std::map<std::string, int64_t> extents;
  for (size_t k = 0; k < operands.size(); ++k) {
    const Tensor& t = operands[k];
    const Labels& labels = e.operands[k];
    RECKON_CHECK(t.defined() && static_cast<size_t>(t.rank()) == labels.size(),
                 "einsum '{}': operand {} has {} labels but is {}", e.text, k, labels.size(),
                 t.defined() ? describe(t) : "undefined");
    for (size_t i = 0; i < labels.size(); ++i) {
      const int64_t extent = t.shape()[static_cast<int>(i)];
      const auto [known, added] = extents.try_emplace(labels[i], extent);
      RECKON_CHECK(added || known->second == extent, "einsum '{}': '{}' is {} in operand {} ({}) but {} before",
                   e.text, labels[i], extent, k, describe(t), known->second);
    }
  }
  return extents;
}

int index_of(const Labels& labels, const std::string& label) {
  const auto at = std::find(labels.begin(), labels.end(), label);
  return at == labels.end() ? -1 : static_cast<int>(at - labels.begin());
}

bool contains(const Labels& labels, const std::string& label) { return index_of(labels, label) >= 0; }

}  // namespace reckon::ops
