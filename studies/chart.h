// Small SVG pictures: lines over a common x axis, and stacked bars. Text in, text
// out; called by the figure sheets.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace reckon::cli {

struct Line {
  std::string name;
  std::vector<std::optional<double>> values;  // one per x; nothing where there is no value
  bool dashed = false;                        // somebody else's figure
};

struct LineChart {
  std::string title, x_label, y_label;
  std::vector<double> x;
  std::vector<Line> lines;
  std::optional<double> limit;  // a horizontal line, such as a card's memory
  std::string limit_name;
};

struct Bar {
  std::string group, name;     // bars of one group stand together
  std::vector<double> pieces;  // from the bottom, as `StackedBars::pieces` names them
};

struct StackedBars {
  std::string title, y_label;
  std::vector<std::string> pieces;
  std::vector<Bar> bars;
};

std::string to_svg(const LineChart& chart);
std::string to_svg(const StackedBars& chart);

}  // namespace reckon::cli
