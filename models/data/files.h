// File access shared by the data readers: a read-only memory map, a writer that replaces its target only when
// everything is on disk, and the quoting of untrusted text in messages. Called by the readers in this folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace reckon::data {

// Maps a regular file read-only. The file must not be truncated by others while it is mapped.
class MappedFile {
 public:
  static MappedFile open(const std::filesystem::path& path);
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Writes to a temporary name in the target's directory. commit() syncs the file, renames it over the target and
// syncs the directory; without commit() the destructor removes the temporary and the target stays as it was.
class ReplacingFile {
 public:
  explicit ReplacingFile(std::filesystem::path target);
  ReplacingFile(const ReplacingFile&) = delete;
  ReplacingFile& operator=(const ReplacingFile&) = delete;
  ~ReplacingFile();

  void append(std::span<const std::byte> bytes);
  void append(std::string_view text) { append(std::as_bytes(std::span(text.data(), text.size()))); }
  void overwrite(uint64_t offset, std::span<const std::byte> bytes);  // for headers known only at the end
  void commit();

 private:
  std::filesystem::path target_, temporary_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

// Whole file as text; Error when missing, not a regular file or larger than max_bytes.
std::string read_text_file(const std::filesystem::path& path, uint64_t max_bytes);

// 'text' with control and non-ASCII bytes as \xNN and long text cut, so that hostile
// names cannot garble a message.
std::string in_quotes(std::string_view text, size_t max_length = 80);

// Offset of the first byte that is not well-formed UTF-8, or npos.
size_t find_invalid_utf8(std::string_view text);

// FNV-1a, 64 bits; chain calls by passing the previous result. Identifies inputs,
// does not protect against forgery.
constexpr uint64_t kFnvStart = 0xcbf29ce484222325ull;
uint64_t fnv1a(std::string_view text, uint64_t hash = kFnvStart);

}  // namespace reckon::data
