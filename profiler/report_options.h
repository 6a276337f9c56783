// How much of a run a text shows. Read by every report of this folder, set by the command line.
#pragma once

namespace reckon::profiler {

struct ReportOptions {
  int module_depth = 3;         // components of a module path that are shown; numbers become `*`
  int top = 24;                 // rows of a table; the rest is one line, so that columns still add up
  int width = 72, height = 16;  // of the timeline, in characters
};

}  // namespace reckon::profiler
