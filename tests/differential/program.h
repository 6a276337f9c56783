// A random program as a value: a list of statements that can be printed, parsed and cut down.
//
//   program seed=7 autocast=bf16
//   x1 = leaf shape=2x3 type=f32 grad=1 values=signed:5
//   t1 = affine x1 scale=2 shift=0.5
//   t2,t3 = segment t1 x1 boundary=block {
//     t4 = mul t1 x1
//     return t4 t1
//   }
//   backward t2 seed=9
//
// A line holds outputs, "=", a word, inputs ("_" for an absent one) and attributes; "{" opens a body. tests of the
// differential suite read and write nothing else; what the words mean stands in calls.h and machine.h.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "runtime/core/shape.h"

namespace reckon::differential {

struct Statement {
  std::string word;
  std::vector<std::string> outs, ins;
  std::vector<std::pair<std::string, std::string>> attrs;  // in the order of the text
  std::vector<Statement> body;

  const std::string* find(std::string_view key) const;  // null when absent
  std::string text(std::string_view key, std::string_view otherwise = "") const;
  double number(std::string_view key, double otherwise = 0) const;
  int64_t integer(std::string_view key, int64_t otherwise = 0) const;
  uint64_t natural(std::string_view key, uint64_t otherwise = 0) const;
  Dims dims(std::string_view key) const;  // "2x0x3"; "-" or absent: none
  Statement& set(std::string key, std::string value);
  Statement& set(std::string key, double value);
  Statement& set(std::string key, int64_t value) { return set(std::move(key), std::to_string(value)); }
  Statement& set(std::string key, int value) { return set(std::move(key), std::to_string(value)); }
  Statement& set(std::string key, uint64_t value) { return set(std::move(key), std::to_string(value)); }
  Statement& set(std::string key, const Dims& value);
};

struct Program {
  Statement header;  // word "program"
  std::vector<Statement> body;
};

std::string to_text(const Program& p);
std::string to_text(const Statement& s, int indent = 0);  // without the body: "... {"
// Error names the line. A "#" opens a comment.
Program parse_program(const std::string& text);
Program read_program(const std::string& path);

// Statements of a body and of the bodies inside, in the order of the text.
void for_each_statement(const std::vector<Statement>& body, auto f) {
  for (const Statement& s : body) {
    f(s);
    for_each_statement(s.body, f);
  }
}

}  // namespace reckon::differential
