// Shared by the data tests: a directory that disappears, file helpers, the message of a thrown Error, and the
// mutation loop that feeds damaged copies of a valid file to a parser.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include "runtime/core/error.h"
#include "runtime/core/rng.h"

namespace reckon::data::test {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "reckon_data_XXXXXX").string();
    if (!::mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp failed");
    path_ = pattern;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }
  size_t n_entries() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(path_), {}));
  }

 private:
  std::filesystem::path path_;
};

inline void write_file(const std::filesystem::path& path, std::string_view text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

template <class Function>
std::string error_of(Function&& function) {
  try {
    function();
  } catch (const Error& e) {
    return e.what();
  }
  return "(no Error was thrown)";
}

inline testing::AssertionResult says(const std::string& message,
                                     std::initializer_list<std::string_view> parts) {
  for (std::string_view part : parts)
    if (message.find(part) == std::string::npos)
      return testing::AssertionFailure() << "message \"" << message << "\" lacks \"" << part << '"';
  return testing::AssertionSuccess();
}

// Flips, overwrites, deletes, repeats or cuts bytes of `valid` and calls `parse`; anything but success or Error
// escapes and fails the test. Returns how many copies were refused.
template <class Parse>
int mutate(const std::string& valid, int iterations, uint64_t seed, Parse&& parse) {
  const Philox rng{seed, 0x6d757461};
  int refused = 0;
  uint64_t counter = 0;
  for (int i = 0; i < iterations; ++i) {
    std::string damaged = valid;
    const auto plan = rng(counter++);
    for (uint32_t edit = 0; edit <= plan[0] % 4 && !damaged.empty(); ++edit) {
      const auto draw = rng(counter++);
      const size_t at = draw[0] % damaged.size();
      const size_t length = std::min<size_t>(1 + draw[1] % 16, damaged.size() - at);
      switch (draw[2] % 6) {
        case 0:
          damaged[at] = static_cast<char>(damaged[at] ^ (1 << (draw[3] % 8)));
          break;
        case 1:
          damaged[at] = static_cast<char>(draw[3]);
          break;
        case 2:
          damaged.erase(at, length);
          break;
        case 3:
          damaged.insert(at, damaged.substr(at, length));
          break;
        case 4:
          damaged[at] = "{}[]\":,0-9>\n"[draw[3] % 12];
          break;
        default:
          damaged.resize(at);
          break;
      }
    }
    // An exact-size heap copy lets the address sanitizer see reads past the end.
    const std::vector<char> exact(damaged.begin(), damaged.end());
    try {
      parse(std::string_view(exact.data(), exact.size()));
    } catch (const Error&) {
      ++refused;
    }
  }
  return refused;
}

}  // namespace reckon::data::test
