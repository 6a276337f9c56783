#include "calculators/table_file.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "profiler/file.h"
#include "runtime/core/error.h"

namespace reckon::calculators {
namespace {

std::string trimmed(std::string s) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!s.empty() && is_blank(s.back())) s.pop_back();
  s.erase(s.begin(), std::find_if_not(s.begin(), s.end(), is_blank));
  return s;
}

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> out;
  std::stringstream in(line);
  std::string cell;
  while (std::getline(in, cell, ',')) out.push_back(trimmed(cell));
  if (!line.empty() && line.back() == ',') out.emplace_back();
  return out;
}

double number(const std::string& text, const std::string& column, const std::string& place) {
  double v = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), v);
  RECKON_CHECK(ec == std::errc() && end == text.data() + text.size() && std::isfinite(v),
               "{}: {} must be a number, got '{}'", place, column, text);
  return v;
}

// Where each asked-for column is in the head; Error when the heads differ as sets.
std::vector<size_t> positions(const std::vector<std::string>& heads, const std::vector<std::string>& columns,
                              const std::string& place) {
  std::vector<size_t> at;
  for (const std::string& c : columns) {
    const auto found = std::find(heads.begin(), heads.end(), c);
    RECKON_CHECK(found != heads.end(), "{}: there is no column '{}': expected {}, got {}", place, c,
                 fmt::join(columns, ", "), fmt::join(heads, ", "));
    at.push_back(static_cast<size_t>(found - heads.begin()));
  }
  RECKON_CHECK(heads.size() == columns.size(), "{}: expected the columns {}, got {}", place,
               fmt::join(columns, ", "), fmt::join(heads, ", "));
  return at;
}

void read_csv(const std::string& text, const std::vector<std::string>& columns, NumberTable& t) {
  std::stringstream in(text);
  std::string line;
  std::vector<size_t> at;
  size_t n = 0;
  while (std::getline(in, line)) {
    const std::string place = fmt::format("{}:{}", t.origin, ++n);
    line = trimmed(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    const std::vector<std::string> cells = cells_of(line);
    if (at.empty()) {
      at = positions(cells, columns, place);
      continue;
    }
    RECKON_CHECK(cells.size() == columns.size(), "{}: expected {} values, got {}", place, columns.size(),
                 cells.size());
    std::vector<double> row;
    for (size_t i = 0; i < columns.size(); ++i) row.push_back(number(cells[at[i]], columns[i], place));
    t.rows.push_back(std::move(row));
    t.places.push_back(place);
  }
}

void read_json(const std::string& text, const std::vector<std::string>& columns, NumberTable& t) {
  nlohmann::json j;
  try {
    j = nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& e) {
    raise_error(fmt::format("{} is not JSON: {}", t.origin, e.what()));
  }
  RECKON_CHECK(j.is_array(), "{}: expected a list of objects", t.origin);
  size_t n = 0;
  for (const auto& item : j) {
    const std::string place = fmt::format("{}: row {}", t.origin, n++);
    RECKON_CHECK(item.is_object(), "{}: expected an object with {}", place, fmt::join(columns, ", "));
    std::vector<std::string> heads;
    for (const auto& [key, value] : item.items()) heads.push_back(key);
    positions(heads, columns, place);
    std::vector<double> row;
    for (const std::string& c : columns) {
      const auto& v = item.at(c);
      RECKON_CHECK(v.is_number() && std::isfinite(v.get<double>()), "{}: {} must be a number, got {}", place, c,
                   v.dump());
      row.push_back(v.get<double>());
    }
    t.rows.push_back(std::move(row));
    t.places.push_back(place);
  }
}

}  // namespace

NumberTable parse_number_table(const std::string& text, const std::string& origin,
                               const std::vector<std::string>& columns) {
  NumberTable t;
  t.origin = origin;
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && (text[first] == '[' || text[first] == '{'))
    read_json(text, columns, t);
  else
    read_csv(text, columns, t);
  RECKON_CHECK(!t.rows.empty(), "{}: there is no row; expected a table with the columns {}", origin,
               fmt::join(columns, ", "));
  return t;
}

NumberTable read_number_table(const std::string& path, const std::vector<std::string>& columns) {
  return parse_number_table(profiler::read_file(path), path, columns);
}

long long whole_number(double value, long long least, const std::string& what, const std::string& place) {
  RECKON_CHECK(value == std::floor(value) && value >= static_cast<double>(least) && value < 0x1p53,
               "{}: {} must be a whole number of at least {}, got {}", place, what, least, value);
  return static_cast<long long>(value);
}

}  // namespace reckon::calculators
