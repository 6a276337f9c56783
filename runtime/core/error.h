// Errors a caller can cause. RECKON_CHECK throws `Error` with what was expected and what came; dispatch adds
// the op and the module path. RECKON_ASSERT is for our own invariants.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace reckon {

class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message) : std::runtime_error(message) {}
};

// Raised by an arena that cannot serve a request; callers may catch it apart from other errors.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

[[noreturn]] void raise_error(std::string message);
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);

}  // namespace reckon

#define RECKON_CHECK(condition, ...)                     \
  do {                                                   \
    if (!(condition)) [[unlikely]]                       \
      ::reckon::raise_error(::fmt::format(__VA_ARGS__)); \
  } while (false)

#define RECKON_ASSERT(condition)                                  \
  do {                                                            \
    if (!(condition)) [[unlikely]]                                \
      ::reckon::assertion_failed(#condition, __FILE__, __LINE__); \
  } while (false)
