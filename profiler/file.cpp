#include "profiler/file.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "runtime/core/error.h"

namespace reckon::profiler {

void write_file(const std::string& path, std::string_view text) {
  const std::string temporary = fmt::format("{}.tmp{}", path, getpid());
  struct Remover {
    const std::string& name;
    ~Remover() { std::remove(name.c_str()); }  // nothing to remove once it was renamed
  } remover{temporary};
  std::FILE* file = std::fopen(temporary.c_str(), "wb");
  RECKON_CHECK(file, "cannot write '{}': {} (does the folder exist?)", path, std::strerror(errno));
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size() &&
                       std::fflush(file) == 0 && fsync(fileno(file)) == 0;
  const int error = errno;
  const bool closed = std::fclose(file) == 0;
  RECKON_CHECK(written && closed, "writing {} bytes to '{}' failed: {}", text.size(), path,
               std::strerror(written ? errno : error));
  RECKON_CHECK(std::rename(temporary.c_str(), path.c_str()) == 0, "cannot replace '{}': {}", path,
               std::strerror(errno));
}

std::string read_file(const std::string& path) {
  std::error_code error;
  RECKON_CHECK(std::filesystem::exists(path, error), "'{}' does not exist", path);
  RECKON_CHECK(std::filesystem::is_regular_file(path, error), "'{}' is not a file", path);
  const auto size = std::filesystem::file_size(path, error);
  RECKON_CHECK(!error && size <= (uintmax_t{1} << 30), "'{}' has {} bytes: expected a file of at most 1 GiB",
               path, size);
  std::ifstream in(path, std::ios::binary);
  std::string text(size, '\0');
  RECKON_CHECK(in.read(text.data(), static_cast<std::streamsize>(size)), "cannot read '{}': {}", path,
               std::strerror(errno));
  return text;
}

}  // namespace reckon::profiler
