#include "calculators/quantity.h"

#include <charconv>
#include <cmath>
#include <utility>

#include "runtime/core/error.h"
#include "runtime/core/format.h"

namespace reckon::calculators {
namespace {

struct Number {
  double value = 0;
  int decimals = 0;    // digits after the point
  int exponent = 0;    // after an e
  bool whole = false;  // digits and commas only
  std::string digits, unit;
};

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

// A number and what stands behind it; false when there is no number in front.
bool split(std::string_view text, Number* n) {
  text = trimmed(text);
  size_t end = 0;
  std::string digits;
  while (end < text.size() &&
         ((text[end] >= '0' && text[end] <= '9') || text[end] == '.' || (text[end] == ',' && end > 0)))
    digits += text[end] == ',' ? "" : std::string(1, text[end]), ++end;
  if (digits.empty()) return false;
  n->whole = digits.find('.') == std::string::npos;
  if (!n->whole) n->decimals = static_cast<int>(digits.size() - digits.find('.') - 1);
  if (end < text.size() && (text[end] == 'e' || text[end] == 'E')) {
    size_t at = end + 1;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    const size_t first = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
    if (at > first) {
      n->whole = false;
      digits += text.substr(end, at - end);
      const char* from = text.data() + end + (text[end + 1] == '+' ? 2 : 1);
      if (std::from_chars(from, text.data() + at, n->exponent).ec != std::errc()) return false;
      end = at;
    }
  }
  const auto [stop, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), n->value);
  n->digits = digits;
  n->unit = trimmed(text.substr(end));
  return ec == std::errc() && stop == digits.data() + digits.size() && std::isfinite(n->value);
}

constexpr std::pair<std::string_view, double> kByteUnits[] = {
    {"", 1},         {"B", 1},      {"bytes", 1},    {"kB", 1e3},   {"KB", 1e3},     {"MB", 1e6},
    {"GB", 1e9},     {"TB", 1e12},  {"PB", 1e15},    {"K", 0x1p10}, {"KiB", 0x1p10}, {"M", 0x1p20},
    {"MiB", 0x1p20}, {"G", 0x1p30}, {"GiB", 0x1p30}, {"T", 0x1p40}, {"TiB", 0x1p40}, {"PiB", 0x1p50}};
constexpr std::pair<std::string_view, double> kPrefixes[] = {{"", 1},     {"k", 1e3},  {"K", 1e3},  {"M", 1e6},
                                                             {"G", 1e9},  {"T", 1e12}, {"P", 1e15}, {"E", 1e18},
                                                             {"Z", 1e21}, {"Y", 1e24}};
constexpr std::pair<std::string_view, double> kSeconds[] = {
    {"", 1}, {"s", 1}, {"ms", 1e-3}, {"us", 1e-6}, {"min", 60}, {"h", 3600}, {"d", 86400}};

template <size_t N>
double factor_of(const std::pair<std::string_view, double> (&units)[N], std::string_view unit) {
  for (const auto& [name, factor] : units)
    if (name == unit) return factor;
  return 0;
}

// Two decimals are enough for a person, and as many as tools print.

}  // namespace

WrittenBytes parse_written_bytes(std::string_view text, std::string_view what) {
  Number n;
  const bool good = split(text, &n);
  const double factor = good ? factor_of(kByteUnits, n.unit) : 0;
  RECKON_CHECK(good && factor > 0 && n.value * factor >= 1 && n.value * factor < 0x1p100,
               "{} '{}' is not a size: expected a number of at least one byte with B, kB, MB, GB, TB, PB "
               "(powers of 1000) "
               "or KiB, MiB, GiB, TiB, PiB "
               "(powers of 1024), such as 512MiB or '4.50 GiB'",
               what, text);
  const double step = std::pow(10.0, n.exponent - n.decimals) * factor;
  if (n.whole) {
    const Exact bytes = Exact::parse(n.digits) * Exact::truncated(factor);
    const Exact half = Exact::truncated(factor / 2);
    return {std::string(trimmed(text)), bytes, bytes - half, bytes + half};
  }
  const double value = n.value * factor;
  const Exact low = Exact::truncated(std::ceil(value - step / 2)),
              high = Exact::truncated(std::floor(value + step / 2));
  return {std::string(trimmed(text)), Exact::truncated(value), low, high < low ? low : high};
}

double parse_flops(std::string_view text, std::string_view what) {
  Number n;
  const bool good = split(text, &n);
  std::string_view unit = n.unit;
  for (const std::string_view tail : {"FLOP/s", "FLOPS", "FLOPs", "FLOP"})
    if (unit.ends_with(tail)) {
      unit.remove_suffix(tail.size());
      break;
    }
  const double factor = good ? factor_of(kPrefixes, unit) : 0;
  const double value = n.value * factor;
  RECKON_CHECK(
      good && factor > 0 && value > 0 && std::isfinite(value),
      "{} '{}' is not an amount of work: expected a positive number such as 1e21, 989e12 or '989 TFLOP/s'",
      what, text);
  return value;
}

double parse_seconds(std::string_view text, std::string_view what) {
  Number n;
  const bool good = split(text, &n);
  const double value = n.value * (good ? factor_of(kSeconds, n.unit) : 0);
  RECKON_CHECK(good && value > 0 && std::isfinite(value),
               "{} '{}' is not a time: expected a positive number of seconds, or one with ms, s, min, h or d, "
               "such as '6.8 s'",
               what, text);
  return value;
}

int64_t parse_whole(std::string_view text, std::string_view what) {
  Number n;
  const bool good = split(text, &n) && n.whole && n.unit.empty();
  RECKON_CHECK(good && n.value >= 1, "{} '{}' is not a whole number of at least 1", what, text);
  return Exact::parse(n.digits).to_int64(what);
}

std::string decimal_bytes(Exact bytes) {
  constexpr std::string_view kLetters = "kMGTPEZY";
  double v = bytes.to_double();
  size_t unit = 0;
  while (std::fabs(v) >= 1000 && unit < kLetters.size()) v /= 1000, ++unit;
  return unit == 0 ? bytes.digits() + " B" : fmt::format("{:.2f} {}B", v, kLetters[unit - 1]);
}

std::string binary_bytes(Exact bytes) { return format_bytes(bytes.to_double()); }

}  // namespace reckon::calculators
