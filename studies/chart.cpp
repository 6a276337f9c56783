#include "studies/chart.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "profiler/html.h"

namespace reckon::cli {
namespace {

using profiler::escaped;

constexpr double kWidth = 900, kHeight = 480, kLeft = 80, kRight = 240, kTop = 50, kBottom = 60;
constexpr double kPlotWidth = kWidth - kLeft - kRight, kPlotHeight = kHeight - kTop - kBottom;
constexpr std::array<const char*, 8> kColours{"#4e79a7", "#f28e2b", "#59a14f", "#e15759",
                                              "#b07aa1", "#76b7b2", "#9c755f", "#edc948"};

std::string label(double x, double y, const std::string& text, const char* anchor = "middle", int size = 13) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" font-size=\"{}\">{}</text>\n", x, y,
                     anchor, size, escaped(text));
}

// A step of 1, 2 or 5 times a power of ten that divides `top` into about five.
double tick_step(double top) {
  const double raw = top / 5, power = std::pow(10.0, std::floor(std::log10(raw)));
  for (double f : {1.0, 2.0, 5.0})
    if (raw <= f * power) return f * power;
  return 10 * power;
}

std::string frame(const std::string& title, const std::string& y_label, double top) {
  std::string s = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" font-family=\"sans-serif\" "
      "fill=\"#222\">\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"#fff\"/>\n",
      kWidth, kHeight);
  s += label(kLeft + kPlotWidth / 2, 28, title, "middle", 16);
  const double step = tick_step(top);
  for (double v = 0; v <= top * 1.0001; v += step) {
    const double y = kTop + kPlotHeight * (1 - v / top);
    s += fmt::format("<line x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#ddd\"/>\n", kLeft,
                     kLeft + kPlotWidth, y, y);
    s += label(kLeft - 8, y + 4, fmt::format("{:g}", v), "end");
  }
  s += fmt::format(
      "<text transform=\"translate(22 {:.1f}) rotate(-90)\" text-anchor=\"middle\" "
      "font-size=\"13\">{}</text>\n",
      kTop + kPlotHeight / 2, escaped(y_label));
  return s;
}

std::string legend(size_t row, const std::string& mark, const std::string& name) {
  const double y = kTop + 14 + 20 * static_cast<double>(row);
  return fmt::format("<g transform=\"translate({} {})\">{}</g>\n", kLeft + kPlotWidth + 14, y, mark) +
         label(kLeft + kPlotWidth + 46, y + 4, name, "start", 12);
}

}  // namespace

std::string to_svg(const LineChart& c) {
  double top = c.limit.value_or(0);
  for (const Line& l : c.lines)
    for (const auto& v : l.values) top = std::max(top, v.value_or(0));
  top = top > 0 ? top * 1.08 : 1;
  std::string s = frame(c.title, c.y_label, top);
  const double first = c.x.empty() ? 0 : c.x.front(), span = c.x.size() > 1 ? c.x.back() - first : 1;
  const auto px = [&](double x) { return kLeft + 12 + (kPlotWidth - 24) * (x - first) / span; };
  const auto py = [&](double v) { return kTop + kPlotHeight * (1 - v / top); };
  for (double x : c.x) s += label(px(x), kTop + kPlotHeight + 20, fmt::format("{:g}", x));
  s += label(kLeft + kPlotWidth / 2, kHeight - 14, c.x_label);
  size_t row = 0;
  for (const Line& l : c.lines) {
    const char* colour = kColours[row % kColours.size()];
    const char* dash = l.dashed ? " stroke-dasharray=\"6 4\"" : "";
    std::string points;
    for (size_t i = 0; i < c.x.size() && i < l.values.size(); ++i) {
      if (!l.values[i]) continue;
      points += fmt::format("{:.1f},{:.1f} ", px(c.x[i]), py(*l.values[i]));
      s += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"/>\n", px(c.x[i]),
                       py(*l.values[i]), colour);
    }
    s += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"{}/>\n", points,
                     colour, dash);
    s += legend(row++,
                fmt::format("<line x1=\"0\" x2=\"26\" stroke=\"{}\" stroke-width=\"2\"{}/>", colour, dash),
                l.name);
  }
  if (c.limit) {
    s += fmt::format(
        "<line x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#c00\" stroke-width=\"1.5\"/>\n", kLeft,
        kLeft + kPlotWidth, py(*c.limit), py(*c.limit));
    s += legend(row, "<line x1=\"0\" x2=\"26\" stroke=\"#c00\" stroke-width=\"1.5\"/>", c.limit_name);
  }
  return s + "</svg>\n";
}

std::string to_svg(const StackedBars& c) {
  double top = 0;
  for (const Bar& b : c.bars) {
    double sum = 0;
    for (double v : b.pieces) sum += v;
    top = std::max(top, sum);
  }
  top = top > 0 ? top * 1.08 : 1;
  std::string s = frame(c.title, c.y_label, top);
  // One slot per bar, and one between groups.
  double slots = 0;
  for (size_t i = 0; i < c.bars.size(); ++i) slots += i > 0 && c.bars[i].group != c.bars[i - 1].group ? 2 : 1;
  const double slot = kPlotWidth / (slots + 1);
  double x = kLeft + slot / 2;
  for (size_t i = 0; i < c.bars.size(); ++i) {
    const Bar& b = c.bars[i];
    if (i > 0 && b.group != c.bars[i - 1].group) x += slot;
    double below = 0;
    for (size_t k = 0; k < b.pieces.size(); ++k) {
      const double h = kPlotHeight * b.pieces[k] / top;
      below += h;
      s += fmt::format(
          "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"><title>{} {} {}: "
          "{:g}</title></rect>\n",
          x, kTop + kPlotHeight - below, slot * 0.9, h, kColours[k % kColours.size()], escaped(b.group),
          escaped(b.name), k < c.pieces.size() ? escaped(c.pieces[k]) : "", b.pieces[k]);
    }
    s += label(x + slot * 0.45, kTop + kPlotHeight + 16, b.name, "middle", 10);
    if (i == 0 || b.group != c.bars[i - 1].group)
      s += label(x + slot * 0.9, kTop + kPlotHeight + 34, b.group, "middle", 12);
    x += slot;
  }
  for (size_t k = 0; k < c.pieces.size(); ++k)
    s += legend(
        k,
        fmt::format("<rect y=\"-8\" width=\"26\" height=\"12\" fill=\"{}\"/>", kColours[k % kColours.size()]),
        c.pieces[k]);
  return s + "</svg>\n";
}

}  // namespace reckon::cli
