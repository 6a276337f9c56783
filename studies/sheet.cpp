#include "studies/sheet.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "profiler/file.h"
#include "profiler/html.h"

namespace reckon::cli {
namespace {

using profiler::escaped;

using Json = nlohmann::ordered_json;

std::string text_of(const Cell& c) {
  if (const auto* i = std::get_if<int64_t>(&c)) return std::to_string(*i);
  if (const auto* d = std::get_if<double>(&c)) return fmt::format("{:.6g}", *d);
  if (const auto* s = std::get_if<std::string>(&c)) return *s;
  return "";
}

Json json_of(const Cell& c) {
  if (const auto* i = std::get_if<int64_t>(&c)) return *i;
  if (const auto* d = std::get_if<double>(&c)) return *d;
  if (const auto* s = std::get_if<std::string>(&c)) return *s;
  return nullptr;
}

std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string out = "\"";
  for (char c : text) c == '"' ? out += "\"\"" : out += c;
  return out + "\"";
}

}  // namespace

double deviation(double ours, double published) { return 100 * (ours - published) / published; }

double Sheet::worst_deviation() const {
  double worst = -1;
  for (size_t c = 0; c < columns.size(); ++c) {
    if (!columns[c].ends_with("deviation %")) continue;
    for (const auto& row : rows)
      if (const auto* v = std::get_if<double>(&row[c])) worst = std::max(worst, std::fabs(*v));
  }
  return worst;
}

std::string to_csv(const Sheet& s) {
  std::string out;
  for (size_t c = 0; c < s.columns.size(); ++c) out += (c ? "," : "") + quoted(s.columns[c]);
  out += "\n";
  for (const auto& row : s.rows) {
    for (size_t c = 0; c < row.size(); ++c) out += (c ? "," : "") + quoted(text_of(row[c]));
    out += "\n";
  }
  return out;
}

std::string to_json(const Sheet& s) {
  Json j{{"reckon_figure_schema", 1}, {"id", s.id},   {"title", s.title},
         {"estimate", s.estimate},    {"how", s.how}, {"columns", s.columns}};
  j["rows"] = Json::array();
  for (const auto& row : s.rows) {
    Json cells = Json::array();
    for (const Cell& c : row) cells.push_back(json_of(c));
    j["rows"].push_back(std::move(cells));
  }
  j["notes"] = s.notes;
  if (const double worst = s.worst_deviation(); worst >= 0) j["largest_deviation_percent"] = worst;
  return j.dump(2) + "\n";
}

void write(const Sheet& s, const std::filesystem::path& folder) {
  profiler::write_file((folder / (s.id + ".csv")).string(), to_csv(s));
  profiler::write_file((folder / (s.id + ".json")).string(), to_json(s));
  if (!s.svg.empty()) profiler::write_file((folder / (s.id + ".svg")).string(), s.svg);
}

void write_page(const std::vector<Sheet>& sheets, const std::filesystem::path& folder) {
  std::string page =
      "<!doctype html>\n<meta charset=\"utf-8\"><title>Figures</title>\n<style>body{font:15px "
      "sans-serif;max-width:1000px;margin:2em auto}"
      "table{border-collapse:collapse}td,th{padding:2px 10px;text-align:right;border-bottom:1px solid "
      "#ddd}img{width:100%}</style>\n";
  for (const Sheet& s : sheets) {
    page += fmt::format("<h2>{}{}</h2>\n<p>{}</p>\n", escaped(s.title), s.estimate ? " (estimate)" : "",
                        escaped(s.how));
    if (!s.svg.empty()) page += fmt::format("<img src=\"{}.svg\" alt=\"{}\">\n", s.id, escaped(s.title));
    page += "<table><tr>";
    for (const std::string& c : s.columns) page += "<th>" + escaped(c) + "</th>";
    page += "</tr>\n";
    for (const auto& row : s.rows) {
      page += "<tr>";
      for (const Cell& c : row) page += "<td>" + escaped(text_of(c)) + "</td>";
      page += "</tr>\n";
    }
    page += "</table>\n";
    for (const std::string& n : s.notes) page += "<p>" + escaped(n) + "</p>\n";
  }
  profiler::write_file((folder / "index.html").string(), page);
}

}  // namespace reckon::cli
