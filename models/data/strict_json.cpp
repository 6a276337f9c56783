#include "models/data/strict_json.h"

#include <unordered_set>
#include <vector>

#include "models/data/files.h"
#include "runtime/core/error.h"

namespace reckon::data {

std::string json_reason(const nlohmann::json::exception& e) {
  std::string_view text = e.what();
  if (const size_t end = text.find("] "); end != std::string_view::npos) text.remove_prefix(end + 2);
  const std::string printable = in_quotes(text, 240);
  return printable.substr(1, printable.rfind('\'') - 1);
}

nlohmann::json parse_strict_json(std::string_view text, const std::string& name) {
  constexpr int kMaxDepth = 32;
  // The parser takes a zero byte for the end of its input and would ignore what follows.
  const size_t zero = text.find('\0');
  RECKON_CHECK(zero == std::string_view::npos, "{}: zero byte at offset {}, expected JSON text", name, zero);
  std::vector<std::unordered_set<std::string>> keys;
  const auto watch = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& value) {
    using Event = nlohmann::json::parse_event_t;
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::object_start || event == Event::array_start)
      RECKON_CHECK(depth < kMaxDepth, "{}: JSON nested deeper than {} levels", name, kMaxDepth);
    if (event == Event::key)
      RECKON_CHECK(keys.back().insert(value.get<std::string>()).second, "{}: duplicate JSON key {}", name,
                   in_quotes(value.get_ref<const std::string&>()));
    return true;
  };
  try {
    return nlohmann::json::parse(text, watch);
  } catch (const nlohmann::json::exception& e) {
    raise_error(fmt::format("{}: not valid JSON: {}", name, json_reason(e)));
  }
}

}  // namespace reckon::data
