#include "models/data/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "runtime/core/error.h"

namespace reckon::data {
namespace {

struct Descriptor {
  int value = -1;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
};

constexpr size_t kLongestPath = 400;  // characters of a path that a message shows

std::string reason() { return std::strerror(errno); }
std::string quoted(const std::filesystem::path& p) { return in_quotes(p.string(), kLongestPath); }

uint64_t size_of_regular_file(int descriptor, const std::filesystem::path& path) {
  struct stat status {};
  RECKON_CHECK(::fstat(descriptor, &status) == 0, "cannot examine {}: {}", quoted(path), reason());
  RECKON_CHECK(S_ISREG(status.st_mode), "{} is {}, expected a regular file", quoted(path),
               S_ISDIR(status.st_mode) ? "a directory" : "a device, pipe or socket");
  return static_cast<uint64_t>(status.st_size);
}

int open_for_reading(const std::filesystem::path& path) {
  // Non-blocking so that a pipe given by mistake is refused instead of waited for.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  RECKON_CHECK(descriptor >= 0, "cannot open {}: {}", quoted(path), reason());
  return descriptor;
}

void write_all(int descriptor, std::span<const std::byte> bytes, uint64_t offset,
               const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    RECKON_CHECK(n > 0, "cannot write {} bytes at offset {} of {}: {}", bytes.size(), offset, quoted(path),
                 n < 0 ? reason() : "nothing was written");
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
}

}  // namespace

MappedFile MappedFile::open(const std::filesystem::path& path) {
  const Descriptor file{open_for_reading(path)};
  const uint64_t size = size_of_regular_file(file.value, path);
  MappedFile mapped;
  if (size == 0) return mapped;
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.value, 0);
  RECKON_CHECK(address != MAP_FAILED, "cannot map {} ({} bytes): {}", quoted(path), size, reason());
  mapped.data_ = static_cast<const std::byte*>(address);
  mapped.size_ = size;
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

ReplacingFile::ReplacingFile(std::filesystem::path target) : target_(std::move(target)) {
  static std::atomic<uint64_t> serial{0};
  RECKON_CHECK(target_.has_filename(), "cannot write {}: expected a file name at the end of the path",
               quoted(target_));
  RECKON_CHECK(!std::filesystem::is_directory(target_), "cannot write {}: it is a directory", quoted(target_));
  temporary_ = target_;
  temporary_ += fmt::format(".tmp.{}.{}", ::getpid(), serial.fetch_add(1));
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  RECKON_CHECK(descriptor_ >= 0, "cannot create {}: {}", quoted(temporary_), reason());
}

ReplacingFile::~ReplacingFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void ReplacingFile::append(std::span<const std::byte> bytes) {
  write_all(descriptor_, bytes, size_, temporary_);
  size_ += bytes.size();
}

void ReplacingFile::overwrite(uint64_t offset, std::span<const std::byte> bytes) {
  RECKON_ASSERT(offset + bytes.size() <= size_);
  write_all(descriptor_, bytes, offset, temporary_);
}

void ReplacingFile::commit() {
  RECKON_ASSERT(descriptor_ >= 0);
  RECKON_CHECK(::fsync(descriptor_) == 0, "cannot sync {}: {}", quoted(temporary_), reason());
  RECKON_CHECK(::rename(temporary_.c_str(), target_.c_str()) == 0, "cannot rename {} to {}: {}",
               quoted(temporary_), quoted(target_), reason());
  ::close(std::exchange(descriptor_, -1));
  const auto directory = target_.has_parent_path() ? target_.parent_path() : std::filesystem::path(".");
  const Descriptor folder{::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  RECKON_CHECK(folder.value >= 0 && ::fsync(folder.value) == 0,
               "{} is written but its directory could not be synced: {}", quoted(target_), reason());
}

std::string read_text_file(const std::filesystem::path& path, uint64_t max_bytes) {
  const Descriptor file{open_for_reading(path)};
  const uint64_t size = size_of_regular_file(file.value, path);
  RECKON_CHECK(size <= max_bytes, "{} has {} bytes, the limit here is {}: is this the right file?",
               quoted(path), size, max_bytes);
  std::string text(size, '\0');
  size_t filled = 0;
  while (filled < size) {
    const ssize_t n = ::read(file.value, text.data() + filled, size - filled);
    if (n < 0 && errno == EINTR) continue;
    RECKON_CHECK(n >= 0, "cannot read {}: {}", quoted(path), reason());
    RECKON_CHECK(n > 0, "{} ended at byte {} of {}: it was shortened while being read", quoted(path), filled,
                 size);
    filled += static_cast<size_t>(n);
  }
  return text;
}

std::string in_quotes(std::string_view text, size_t max_length) {
  std::string out = "'";
  for (char c : text.substr(0, max_length)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f)
      out += fmt::format("\\x{:02x}", byte);
    else
      out += c;
  }
  out += text.size() > max_length ? fmt::format("'... ({} bytes)", text.size()) : "'";
  return out;
}

size_t find_invalid_utf8(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const size_t n = text.size();
  for (size_t i = 0; i < n;) {
    const unsigned lead = at(i);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    // Shortest forms only, no surrogates, nothing above U+10FFFF: the second byte's range depends on the lead.
    size_t length = 0;
    unsigned low = 0x80, high = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf) {
      length = 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
      length = 3;
      if (lead == 0xe0) low = 0xa0;
      if (lead == 0xed) high = 0x9f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      length = 4;
      if (lead == 0xf0) low = 0x90;
      if (lead == 0xf4) high = 0x8f;
    }
    if (length == 0 || i + length > n || at(i + 1) < low || at(i + 1) > high) return i;
    for (size_t k = 2; k < length; ++k)
      if ((at(i + k) & 0xc0u) != 0x80u) return i;
    i += length;
  }
  return std::string_view::npos;
}

uint64_t fnv1a(std::string_view text, uint64_t hash) {
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return hash;
}

}  // namespace reckon::data
