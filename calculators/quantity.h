// Sizes, rates and times as people write them. Called by the calculators and the command line; every
// text that is not a positive number with a known unit is an Error that names the flag, the text and
// the forms that are understood.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/exact.h"

namespace reckon::calculators {

// A size with the precision it was written in: "4.50 GiB" is any size from 4.495 to 4.505 GiB.
struct WrittenBytes {
  std::string text;
  Exact bytes;      // the number as it stands, cut to whole bytes
  Exact low, high;  // whole bytes that would be printed as this text
};
WrittenBytes parse_written_bytes(std::string_view text, std::string_view what);

// "1e21", "989e12", "989 TFLOP/s", "1.5 EFLOP": prefixes k to Y are decimal.
double parse_flops(std::string_view text, std::string_view what);
// "6.8", "6.8 s", "120 ms", "3 min", "2 h", "10 d"
double parse_seconds(std::string_view text, std::string_view what);
int64_t parse_whole(std::string_view text, std::string_view what);  // digits, commas allowed; at least 1

// "526.42 GB" and "490.26 GiB" with two decimals, in the unit that fits.
std::string decimal_bytes(Exact bytes);
std::string binary_bytes(Exact bytes);

}  // namespace reckon::calculators
