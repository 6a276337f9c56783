#include "ops/einsum/equation.h"

#include <algorithm>
#include <cctype>

namespace reckon::ops {
namespace {

// Moves "..." from the front of `rest` to `out`.
void take_ellipsis(std::string_view& rest, Labels& out, std::string_view text) {
  RECKON_CHECK(rest.starts_with(kEllipsis),
               "einsum '{}': '.' is no label; '...' stands for the axes without one", text);
  RECKON_CHECK(!contains(out, kEllipsis), "einsum '{}': '...' stands twice in one operand or in the result",
               text);
  out.push_back(kEllipsis);
  rest.remove_prefix(kEllipsis.size());
}

Labels letters_of(std::string_view part, std::string_view text) {
  Labels out;
  while (!part.empty()) {
    const char c = part.front();
    if (c == '.') {
      take_ellipsis(part, out, text);
      continue;
    }
    part.remove_prefix(1);
    if (c == ' ') continue;
    RECKON_CHECK(std::isalpha(static_cast<unsigned char>(c)),
                 "einsum '{}': '{}' is no label; expected letters, '...', ',' and '->'", text, c);
    out.emplace_back(1, c);
  }
  return out;
}

Labels words_of(std::string_view part, std::string_view text) {
  const auto in_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
  Labels out;
  while (!part.empty()) {
    const auto end = std::find_if_not(part.begin(), part.end(), in_word);
    const size_t length = static_cast<size_t>(end - part.begin());
    if (part.front() == '.') {
      take_ellipsis(part, out, text);
    } else if (length > 0) {
      out.emplace_back(part.substr(0, length));
      part.remove_prefix(length);
    } else {
      RECKON_CHECK(part.front() == ' ',
                   "einsum '{}': '{}' cannot be part of a name; expected words, '...', ',' and '->'", text,
                   part.front());
      part.remove_prefix(1);
    }
  }
  return out;
}

std::vector<Labels> operands_of(std::string_view left, std::string_view text, auto labels_of) {
  std::vector<Labels> operands;
  while (true) {
    const size_t comma = left.find(',');
    operands.push_back(labels_of(left.substr(0, comma), text));
    if (comma == std::string_view::npos) return operands;
    left.remove_prefix(comma + 1);
  }
}

void check_result(const Equation& e) {
  for (const std::string& label : e.output) {
    RECKON_CHECK(std::count(e.output.begin(), e.output.end(), label) == 1,
                 "einsum '{}': the result names '{}' twice", e.text, label);
    RECKON_CHECK(label == kEllipsis || std::any_of(e.operands.begin(), e.operands.end(),
                                                   [&](const Labels& o) { return contains(o, label); }),
                 "einsum '{}': the result's '{}' is in no operand", e.text, label);
  }
}

Labels labels_that_appear_once(const std::vector<Labels>& operands) {
  std::map<std::string, int> uses;
  for (const Labels& labels : operands)
    for (const std::string& l : labels) ++uses[l];
  Labels out;
  if (uses.erase(kEllipsis)) out.push_back(kEllipsis);
  for (const auto& [label, n] : uses)
    if (n == 1) out.push_back(label);
  return out;
}

// `labels` with one label for each of the `covered` axes in the place of "...".
Labels with_axes(const Labels& labels, int covered) {
  Labels out;
  for (const std::string& l : labels) {
    if (l != kEllipsis) {
      out.push_back(l);
      continue;
    }
    for (int k = covered - 1; k >= 0; --k) out.push_back(kEllipsis + std::to_string(k));
  }
  return out;
}

}  // namespace

Equation parse_letters(std::string_view text) {
  const size_t arrow = text.find("->");
  Equation e{std::string(text), operands_of(text.substr(0, arrow), text, letters_of), {}};
  e.output = arrow == std::string_view::npos ? labels_that_appear_once(e.operands)
                                             : letters_of(text.substr(arrow + 2), text);
  check_result(e);
  return e;
}

Equation parse_words(std::string_view text) {
  const size_t arrow = text.find("->");
  RECKON_CHECK(arrow != std::string_view::npos, "einsum '{}' lacks '->' and the result's axes", text);
  Equation e{std::string(text), operands_of(text.substr(0, arrow), text, words_of),
             words_of(text.substr(arrow + 2), text)};
  check_result(e);
  return e;
}

Equation spelled_out(Equation e, std::span<const Tensor> operands) {
  int most = 0;
  for (size_t k = 0; k < std::min(operands.size(), e.operands.size()); ++k) {
    if (!operands[k].defined() || !contains(e.operands[k], kEllipsis)) continue;
    const int covered = operands[k].rank() - static_cast<int>(e.operands[k].size() - 1);
    RECKON_CHECK(covered >= 0, "einsum '{}': operand {} has {} labels beside '...' but is {}", e.text, k,
                 e.operands[k].size() - 1, describe(operands[k]));
    e.operands[k] = with_axes(e.operands[k], covered);
    most = std::max(most, covered);
  }
  e.output = with_axes(e.output, most);
  return e;
}

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
      if (labels[i].starts_with(kEllipsis) && known->second == 1) known->second = extent;
      if (labels[i].starts_with(kEllipsis) && extent == 1) continue;
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
