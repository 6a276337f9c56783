// One figure as files: a table (CSV, JSON) and a picture (SVG), published values
// beside ours with the deviation.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "profiler/columns.h"

namespace reckon::cli {

struct Sheet {
  std::string id;  // file name without suffix
  std::string title;
  std::string how;  // the configuration or the constants behind our values, one paragraph
  bool estimate = false;
  profiler::Json columns = profiler::Json::array(), rows = profiler::Json::array();  // units are in the names
  std::string svg;                                                                   // may be empty
  std::vector<std::string> notes;  // what stays unexplained, and findings

  template <class T>
  void fill(const profiler::Columns<T>& list, const std::vector<T>& records) {
    const profiler::Json j = profiler::table_json(list, records);
    columns = j["columns"];
    rows = j["rows"];
  }

  // Largest absolute deviation in percent of the columns that end in "deviation %", or -1 when there is none.
  double worst_deviation() const;
};

// 100 (ours - published) / published
double deviation(double ours, double published);
// The column of such deviations; none where nothing was published.
template <class T>
profiler::Columns<T> deviation_column(std::string name, double T::*ours, std::optional<double> T::*published) {
  return {std::move(name), [ours, published](const T& row) {
            return row.*published ? std::optional(deviation(row.*ours, *(row.*published))) : std::nullopt;
          }};
}

std::string to_csv(const Sheet& sheet);
std::string to_json(const Sheet& sheet);
// id.csv, id.json and id.svg, each whole or not at all.
void write(const Sheet& sheet, const std::filesystem::path& folder);
// All of them on one page, with tables and pictures.
void write_page(const std::vector<Sheet>& sheets, const std::filesystem::path& folder);

}  // namespace reckon::cli
