// Whole text files for the profiler's exports: what is written appears complete or not at all.
#pragma once

#include <string>
#include <string_view>

namespace reckon::profiler {

// To a temporary name beside `path`, then renamed over it.
void write_file(const std::string& path, std::string_view text);
// Error when missing, not a regular file, or above 1 GiB.
std::string read_file(const std::string& path);

}  // namespace reckon::profiler
