// What stands at a place of a JSON file, for messages: short, printable, and without following
// a hostile file into its depth.
#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>

namespace reckon {

template <class Json>
std::string excerpt(const Json& v) {
  if (v.is_array()) return fmt::format("an array of {} values", v.size());
  if (v.is_object()) return fmt::format("an object of {} fields", v.size());
  std::string text = v.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

}  // namespace reckon
