// Names of ops, modules and labels as small ids, so that an event is a plain record that compares by value.
#pragma once

#include <cstdint>
#include <string_view>

namespace reckon {

struct NameId {
  uint32_t index = 0;  // 0 is the empty name
  friend bool operator==(NameId, NameId) = default;
  friend auto operator<=>(NameId, NameId) = default;
};

NameId intern(std::string_view name);
std::string_view name_of(NameId id);            // valid for the life of the process
NameId join_path(NameId parent, NameId child);  // "a" and "b" give "a.b"; an empty part is dropped

}  // namespace reckon
