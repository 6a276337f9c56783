#include "runtime/core/error.h"

namespace reckon {

void raise_error(std::string message) { throw Error(std::move(message)); }

void assertion_failed(const char* condition, const char* file, int line) {
  throw std::logic_error(fmt::format("internal invariant broken: {} at {}:{}", condition, file, line));
}

}  // namespace reckon
