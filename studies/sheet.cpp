#include "studies/sheet.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "profiler/file.h"
#include "profiler/html.h"

namespace reckon::cli {
namespace {

using profiler::escaped;

std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string out = "\"";
  for (char c : text) c == '"' ? out += "\"\"" : out += c;
  return out + "\"";
}

profiler::Table texts_of(const Sheet& s) {
  profiler::Table t(std::string(s.columns.size(), 'r'), s.columns.get<std::vector<std::string>>());
  for (const profiler::Json& row : s.rows) {
    std::vector<std::string> cells;
    for (const profiler::Json& cell : row) cells.push_back(profiler::value_text(cell, {}));
    t.row(std::move(cells));
  }
  return t;
}

}  // namespace

double deviation(double ours, double published) { return 100 * (ours - published) / published; }

double Sheet::worst_deviation() const {
  double worst = -1;
  for (size_t c = 0; c < columns.size(); ++c) {
    if (!columns[c].get<std::string>().ends_with("deviation %")) continue;
    for (const auto& row : rows)
      if (row[c].is_number()) worst = std::max(worst, std::fabs(row[c].get<double>()));
  }
  return worst;
}

std::string to_csv(const Sheet& s) {
  const profiler::Table texts = texts_of(s);
  std::string out;
  for (const auto& row : texts.rows()) {
    if (row.empty()) continue;  // a rule
    for (size_t c = 0; c < row.size(); ++c) out += (c ? "," : "") + quoted(row[c]);
    out += "\n";
  }
  return out;
}

std::string to_json(const Sheet& s) {
  profiler::Json j{{"reckon_figure_schema", 1},
                   {"id", s.id},
                   {"title", s.title},
                   {"estimate", s.estimate},
                   {"how", s.how},
                   {"columns", s.columns},
                   {"rows", s.rows},
                   {"notes", s.notes}};
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
    page += profiler::to_html(texts_of(s));
    for (const std::string& n : s.notes) page += "<p>" + escaped(n) + "</p>\n";
  }
  profiler::write_file((folder / "index.html").string(), page);
}

}  // namespace reckon::cli
