// One figure as files: a table (CSV, JSON) and a picture (SVG), published values
// beside ours with the deviation.
#pragma once

#include <filesystem>
#include <string>
#include <variant>
#include <vector>

namespace reckon::cli {

using Cell = std::variant<std::monostate, int64_t, double, std::string>;  // monostate: no value

struct Sheet {
  std::string id;  // file name without suffix
  std::string title;
  std::string how;  // the configuration or the constants behind our values, one paragraph
  bool estimate = false;
  std::vector<std::string> columns;  // with units
  std::vector<std::vector<Cell>> rows;
  std::string svg;                 // may be empty
  std::vector<std::string> notes;  // what stays unexplained, and findings

  // Largest absolute deviation in percent of the columns that end in "deviation %", or -1 when there is none.
  double worst_deviation() const;
};

// 100 (ours - published) / published
double deviation(double ours, double published);

std::string to_csv(const Sheet& sheet);
std::string to_json(const Sheet& sheet);
// id.csv, id.json and id.svg, each whole or not at all.
void write(const Sheet& sheet, const std::filesystem::path& folder);
// All of them on one page, with tables and pictures.
void write_page(const std::vector<Sheet>& sheets, const std::filesystem::path& folder);

}  // namespace reckon::cli
