// Strict reading and orderly writing of JSON, for the files in this folder: every error names the source and
// the field, every integer is exact, and tables are rows of scalars under named columns.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace reckon::profiler {

using Json = nlohmann::ordered_json;

// A value and where it is, so that errors can say so. Refers to a document and an origin that outlive it.
class Field {
 public:
  Field(const Json& json, std::string path, std::string_view origin)
      : json_(&json), path_(std::move(path)), origin_(origin) {}

  [[noreturn]] void fail(std::string_view expected) const;
  Field at(std::string_view key) const;  // of an object; fails when absent
  bool has(std::string_view key) const;  // present and not null
  Field item(size_t i) const;            // of an array
  size_t size() const;                   // of an array
  int64_t integer() const;
  int64_t natural() const;  // integer >= 0
  bool boolean() const;
  const std::string& text() const;
  const Json& json() const { return *json_; }
  // A table written by `table_json`; fails when its columns differ.
  std::vector<Field> rows(const std::vector<std::string>& columns) const;
  // The enumerator with this name, out of `n`.
  template <class E>
  E one_of(int n) const {
    const std::string& t = text();
    for (int i = 0; i < n; ++i)
      if (name_of(static_cast<E>(i)) == t) return static_cast<E>(i);
    fail("a known name");
  }

 private:
  const Json* json_;
  std::string path_;
  std::string_view origin_;
};

Json table_json(const std::vector<std::string>& columns, std::vector<Json> rows);
Json parse_json(std::string_view text, std::string_view origin);
// Objects over several lines, arrays of scalars on one.
std::string to_text(const Json& json);

}  // namespace reckon::profiler
