// JSON parsing for untrusted files: duplicate keys, deep nesting and raw zero bytes are errors, and every
// failure is an Error naming the file. Called by the tokenizer and by the shard index; safetensors
// headers have their own reader.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace reckon::data {

nlohmann::json parse_strict_json(std::string_view text, const std::string& name);

// The parser's own message without its "[json.exception...]" prefix, made printable.
std::string json_reason(const nlohmann::json::exception& e);

}  // namespace reckon::data
