// The text of an einsum equation as lists of labels, and the checks that tie it to shapes. Used by einsum.cpp.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ops/op.h"

namespace reckon::ops {

using Labels = std::vector<std::string>;

struct Equation {
  std::string text;
  std::vector<Labels> operands;
  Labels output;
};

// The label that stands for any number of axes, until `spelled_out` names them.
inline const std::string kEllipsis = "...";

// Letters may leave "->" out: the result then has "..." first, if any operand has it, and the letters that
// appear once in alphabetical order, capitals first.
Equation parse_letters(std::string_view text);
Equation parse_words(std::string_view text);

// The same with a label for each axis that "..." covers: "...0" for the last one, "...1" for the one before.
Equation spelled_out(Equation equation, std::span<const Tensor> operands);

// Extent of every label. An axis of "..." that is 1 in one operand takes the other's extent. Error when ranks,
// extents or the number of operands do not fit.
std::map<std::string, int64_t> bind_extents(const Equation& equation, std::span<const Tensor> operands);

bool contains(const Labels& labels, const std::string& label);
int index_of(const Labels& labels, const std::string& label);  // -1 when absent

}  // namespace reckon::ops
