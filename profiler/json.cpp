#include "profiler/json.h"

#include <filesystem>

#include "profiler/book_columns.h"
#include "profiler/file.h"
#include "runtime/core/error.h"

namespace reckon::profiler {
namespace {

std::string file_in(const std::string& path) {
  std::error_code error;  // of a path that cannot be: reading it says so
  return std::filesystem::is_directory(path, error) ? (std::filesystem::path(path) / "run.json").string()
                                                    : path;
}

}  // namespace

std::string to_json(const RunRecord& run) { return to_text(object_json(TableOf<RunRecord>::columns, run)); }

RunRecord run_from_json(std::string_view text, std::string_view origin) {
  const Json j = parse_json(text, origin);
  const Field f(j, "", origin);
  RECKON_CHECK(j.is_object() && j.contains("reckon_schema"),
               "{} is JSON, but not a run of reckon: it has no 'reckon_schema'", origin);
  const int64_t schema = f.at("reckon_schema").integer();
  RECKON_CHECK(schema == kRunSchema,
               "{} has schema {}, this program reads {}: write it again with this version", origin, schema,
               kRunSchema);
  RunRecord run;
  read_object(TableOf<RunRecord>::columns, f, run);
  return run;
}

void save_run(const std::string& path, const RunRecord& run) { write_file(file_in(path), to_json(run)); }

RunRecord load_run(const std::string& path) {
  const std::string file = file_in(path);
  return run_from_json(read_file(file), file);
}

}  // namespace reckon::profiler
