// Numbers for people: bytes with binary units, counts with thousands separators, counts with decimal prefixes.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/core/exact.h"

namespace reckon {

std::string format_bytes(double bytes);  // "1.50 MiB", "512 B"
std::string format_count(int64_t n);     // "1,829,952"
std::string format_count(Exact n);
std::string format_scaled(double n);         // "12.3 G"
std::string format_seconds(double seconds);  // "1.23 s", "4.56 ms"

}  // namespace reckon
