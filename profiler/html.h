// A run as one HTML file that needs no network: memory over a step, the peak as
// nested rectangles, and the tables.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "profiler/books.h"
#include "profiler/table.h"

namespace reckon::profiler {

// `events` (of one step, may be empty) draw the curve exactly; without them it is drawn
// from the timeline in the books.
std::string to_html(const RunRecord& run, std::span<const Event> events);
void write_html(const std::string& path, const RunRecord& run, std::span<const Event> events);

// A table of texts.
std::string to_html(const Table& table);

// Names come from programs and files: none of them may become markup, in text or in an attribute.
std::string escaped(std::string_view text);

}  // namespace reckon::profiler
