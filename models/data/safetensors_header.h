// The JSON header of a safetensors file, read event by event so that memory stays bounded by what is valid,
// with duplicate keys and wrong types refused. Called by SafetensorsFile only; ranges are checked there.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "models/data/safetensors.h"

namespace reckon::data {

struct HeaderEntry {
  std::string name;
  StoredType dtype = StoredType::F32;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;
};

struct SafetensorsHeader {
  std::vector<HeaderEntry> entries;
  std::map<std::string, std::string> metadata;
};

SafetensorsHeader parse_safetensors_header(std::string_view json, const std::string& file_name);

StoredType stored_type_from_name(std::string_view text, const std::string& file_name,
                                 const std::string& tensor);

}  // namespace reckon::data
