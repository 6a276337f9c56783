// A run as a file: everything a RunRecord holds, with exact integers and losses to the last bit. Reading checks
// the schema and that the books still close; anything else is an Error that names the file and the field.
#pragma once

#include <string>
#include <string_view>

#include "profiler/books.h"

namespace reckon::profiler {

inline constexpr int kRunSchema = 2;

std::string to_json(const RunRecord& run);
RunRecord run_from_json(std::string_view text, std::string_view origin);

// `path` is a file, or a folder that gets (or holds) run.json. The file appears complete or not at all.
void save_run(const std::string& path, const RunRecord& run);
RunRecord load_run(const std::string& path);

}  // namespace reckon::profiler
