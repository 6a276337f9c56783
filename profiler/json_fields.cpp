#include "profiler/json_fields.h"

#include <algorithm>

#include "runtime/core/error.h"
#include "runtime/core/json_excerpt.h"

namespace reckon::profiler {
namespace {

void write(const Json& j, int indent, std::string& out) {
  const bool flat =
      !j.is_structured() || j.empty() ||
      (j.is_array() && std::none_of(j.begin(), j.end(), [](const Json& e) { return e.is_structured(); }));
  if (flat) {
    out += j.dump(-1, ' ', false, Json::error_handler_t::replace);
    return;
  }
  const std::string inner(static_cast<size_t>(indent) + 1, ' ');
  out += j.is_object() ? "{\n" : "[\n";
  bool first = true;
  for (const auto& [key, value] : j.items()) {
    if (!first) out += ",\n";
    first = false;
    out += inner;
    if (j.is_object()) out += Json(key).dump(-1, ' ', false, Json::error_handler_t::replace) + ": ";
    write(value, indent + 1, out);
  }
  out += "\n" + std::string(static_cast<size_t>(indent), ' ') + (j.is_object() ? "}" : "]");
}

}  // namespace

void Field::fail(std::string_view expected) const {
  raise_error(fmt::format("{}: field '{}' is {}, expected {}", origin_, path_, excerpt(*json_), expected));
}

Field Field::at(std::string_view key) const {
  if (!json_->is_object()) fail("an object");
  const auto found = json_->find(std::string(key));
  RECKON_CHECK(found != json_->end(), "{}: field '{}' has no '{}': is this a run.json of reckon?", origin_,
               path_.empty() ? "(top)" : path_, key);
  return {*found, path_.empty() ? std::string(key) : path_ + "." + std::string(key), origin_};
}

bool Field::has(std::string_view key) const {
  if (!json_->is_object()) fail("an object");
  const auto found = json_->find(std::string(key));
  return found != json_->end() && !found->is_null();
}

Field Field::item(size_t i) const {
  if (i >= size()) fail(fmt::format("an array of more than {} values", i));
  return {(*json_)[i], fmt::format("{}[{}]", path_, i), origin_};
}

size_t Field::size() const {
  if (!json_->is_array()) fail("an array");
  return json_->size();
}

int64_t Field::integer() const {
  if (!json_->is_number_integer()) fail("an integer");
  if (json_->is_number_unsigned() && json_->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
    fail("an integer below 2^63");
  return json_->get<int64_t>();
}

int64_t Field::natural() const {
  const int64_t n = integer();
  if (n < 0) fail("an integer of at least 0");
  return n;
}

bool Field::boolean() const {
  if (!json_->is_boolean()) fail("true or false");
  return json_->get<bool>();
}

const std::string& Field::text() const {
  if (!json_->is_string()) fail("a string");
  return json_->get_ref<const std::string&>();
}

std::vector<Field> Field::rows(const std::vector<std::string>& columns) const {
  const Field heads = at("columns");
  if (heads.json() != Json(columns)) heads.fail(Json(columns).dump());
  const Field body = at("rows");
  std::vector<Field> out;
  for (size_t i = 0; i < body.size(); ++i) {
    out.push_back(body.item(i));
    if (out.back().size() != columns.size()) out.back().fail(fmt::format("a row of {} values", columns.size()));
  }
  return out;
}

Json table_json(const std::vector<std::string>& columns, std::vector<Json> rows) {
  return Json{{"columns", columns}, {"rows", std::move(rows)}};
}

Json parse_json(std::string_view text, std::string_view origin) {
  try {
    return Json::parse(text);
  } catch (const nlohmann::json::exception& e) {
    raise_error(fmt::format("{} is not JSON (cut off, or another kind of file?): {}", origin, e.what()));
  }
}

std::string to_text(const Json& json) {
  std::string out;
  write(json, 0, out);
  return out + "\n";
}

}  // namespace reckon::profiler
