#include "tests/differential/program.h"

#include <fstream>
#include <sstream>

namespace reckon::differential {
namespace {

std::vector<std::string> split_at(const std::string& text, char at) {
  std::vector<std::string> parts(1);
  for (char c : text)
    if (c == at)
      parts.emplace_back();
    else
      parts.back() += c;
  return parts;
}

void print(const Statement& s, int indent, std::string& out) {
  out += to_text(s, indent) + "\n";
  if (s.body.empty()) return;
  for (const Statement& inner : s.body) print(inner, indent + 2, out);
  out += std::string(static_cast<size_t>(indent), ' ') + "}\n";
}

struct Parser {
  std::istringstream in;
  int line_number = 0;

  // The statements up to "}" or the end of the text.
  std::vector<Statement> body(bool inside) {
    std::vector<Statement> all;
    std::string line;
    while (std::getline(in, line)) {
      ++line_number;
      line = line.substr(0, line.find('#'));
      std::istringstream words(line);
      std::string word;
      if (!(words >> word)) continue;
      if (word == "}") {
        RECKON_CHECK(inside, "line {}: a '}}' without its '{{'", line_number);
        return all;
      }
      all.push_back(statement(words, word));
    }
    RECKON_CHECK(!inside, "line {}: the text ends inside a '{{'", line_number);
    return all;
  }

  Statement statement(std::istringstream& words, std::string word) {
    Statement s;
    std::string next;
    if (words >> next && next == "=") {
      s.outs = split_at(word, ',');
      RECKON_CHECK(static_cast<bool>(words >> word), "line {}: nothing behind '='", line_number);
      next.clear();
      words >> next;
    }
    s.word = word;
    for (; !next.empty(); next.clear(), words >> next) {
      if (next == "{") {
        s.body = body(true);
        break;
      }
      const size_t equals = next.find('=');
      if (equals == std::string::npos)
        s.ins.push_back(next);
      else
        s.set(next.substr(0, equals), next.substr(equals + 1));
    }
    return s;
  }
};

}  // namespace

const std::string* Statement::find(std::string_view key) const {
  for (const auto& [k, v] : attrs)
    if (k == key) return &v;
  return nullptr;
}

std::string Statement::text(std::string_view key, std::string_view otherwise) const {
  const std::string* v = find(key);
  return v ? *v : std::string(otherwise);
}

double Statement::number(std::string_view key, double otherwise) const {
  const std::string* v = find(key);
  return v ? std::stod(*v) : otherwise;
}

int64_t Statement::integer(std::string_view key, int64_t otherwise) const {
  const std::string* v = find(key);
  return v ? std::stoll(*v) : otherwise;
}

uint64_t Statement::natural(std::string_view key, uint64_t otherwise) const {
  const std::string* v = find(key);
  return v ? std::stoull(*v) : otherwise;
}

Dims Statement::dims(std::string_view key) const {
  const std::string* v = find(key);
  Dims d;
  if (!v || *v == "-") return d;
  for (const std::string& part : split_at(*v, 'x')) d.push_back(std::stoll(part));
  return d;
}

Statement& Statement::set(std::string key, std::string value) {
  for (auto& [k, v] : attrs)
    if (k == key) {
      v = std::move(value);
      return *this;
    }
  attrs.emplace_back(std::move(key), std::move(value));
  return *this;
}

Statement& Statement::set(std::string key, double value) {
  return set(std::move(key), fmt::format("{}", value));
}

Statement& Statement::set(std::string key, const Dims& value) {
  std::string text;
  for (int64_t d : value) text += (text.empty() ? "" : "x") + std::to_string(d);
  return set(std::move(key), text.empty() ? "-" : text);
}

std::string to_text(const Statement& s, int indent) {
  std::string line(static_cast<size_t>(indent), ' ');
  for (size_t i = 0; i < s.outs.size(); ++i) line += (i ? "," : "") + s.outs[i];
  line += (s.outs.empty() ? "" : " = ") + s.word;
  for (const std::string& in : s.ins) line += " " + in;
  for (const auto& [k, v] : s.attrs) line += " " + k + "=" + v;
  return line + (s.body.empty() ? "" : " {");
}

std::string to_text(const Program& p) {
  std::string out = to_text(p.header) + "\n";
  for (const Statement& s : p.body) print(s, 0, out);
  return out;
}

Program parse_program(const std::string& text) {
  Parser parser{std::istringstream(text)};
  Program p;
  p.body = parser.body(false);
  RECKON_CHECK(!p.body.empty() && p.body[0].word == "program", "a program opens with the line 'program ...'");
  p.header = std::move(p.body[0]);
  p.body.erase(p.body.begin());
  return p;
}

Program read_program(const std::string& path) {
  std::ifstream file(path);
  RECKON_CHECK(file.good(), "cannot read the program {}", path);
  std::stringstream text;
  text << file.rdbuf();
  return parse_program(text.str());
}

}  // namespace reckon::differential
