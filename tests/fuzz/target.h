// One fuzz target per parser: the function below, which libFuzzer or driver.cpp calls with damaged input. A
// parser may accept its input or throw reckon::Error; anything else leaves the target and is a finding, and so
// is a property of accepted input that does not hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/core/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace reckon::fuzz {

// Runs `parse`; true when it accepted the input.
template <class Parse>
bool accepts(Parse&& parse) {
  try {
    std::forward<Parse>(parse)();
    return true;
  } catch (const Error&) {
    return false;
  }
}

inline void require(bool holds, const char* property) {
  if (holds) return;
  std::fprintf(stderr, "property of accepted input broken: %s\n", property);
  std::abort();
}

inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace reckon::fuzz
