// Reader and writer of safetensors files (8-byte header length, JSON header, raw little-endian data). The
// reader maps the file, checks every claim of the header before anything is handed out and owns no tensor
// copies. Called by checkpoint code and by the golden-value tests. It does not convert element types.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "models/data/files.h"
#include "runtime/core/dtype.h"

namespace reckon::data {

// Element types as the format names them; some have no counterpart in the runtime
// and are only readable as bytes.
enum class StoredType : uint8_t {
  F64,
  F32,
  F16,
  BF16,
  I64,
  I32,
  I16,
  I8,
  U64,
  U32,
  U16,
  U8,
  BOOL,
  F8_E4M3,
  F8_E5M2
};

std::string_view name_of(StoredType type);
size_t size_of(StoredType type);
std::optional<DType> runtime_type(StoredType type);  // BOOL is u8; none for I32, I16, I8, U16, U32, U64
StoredType stored_type(DType type);

// `bytes` lies in the mapped file and need not be aligned to the element: copy it with memcpy.
struct TensorView {
  StoredType dtype = StoredType::F32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
  int64_t n_elements() const;
};

class SafetensorsFile {
 public:
  static SafetensorsFile open(const std::filesystem::path& path);
  // The buffer must outlive the object; `name` stands for the file in messages.
  static SafetensorsFile parse(std::span<const std::byte> buffer, std::string name);

  const std::string& file_name() const { return file_name_; }
  const std::vector<std::string>& names() const { return names_; }  // in the order of their data
  bool contains(std::string_view name) const { return index_.count(std::string(name)) != 0; }
  const TensorView& tensor(std::string_view name) const;  // Error naming the nearest names when absent
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  MappedFile mapped_;
  std::string file_name_;
  std::vector<std::string> names_;
  std::vector<TensorView> tensors_;
  std::unordered_map<std::string, size_t> index_;
  std::map<std::string, std::string> metadata_;
};

// A checkpoint directory: model.safetensors, or the shards named by model.safetensors.index.json.
class ShardedSafetensors {
 public:
  const std::vector<std::string>& names() const { return names_; }
  bool contains(std::string_view name) const { return owner_.count(std::string(name)) != 0; }
  const TensorView& tensor(std::string_view name) const;
  const std::vector<SafetensorsFile>& files() const { return files_; }

 private:
  friend ShardedSafetensors read_sharded(const std::filesystem::path& directory);
  std::string where_;
  std::vector<SafetensorsFile> files_;
  std::vector<std::string> names_;
  std::unordered_map<std::string, size_t> owner_;
};

ShardedSafetensors read_sharded(const std::filesystem::path& directory);

// Shard file of each tensor from the text of an index; refuses names that leave the directory.
std::map<std::string, std::string> parse_shard_index(std::string_view text, const std::string& name);

// Collects descriptions, then streams the data: no copy of the tensors is held. Tensors are laid out by falling
// element size (then in the order added), which keeps each aligned. On any failure the old file stays.
class SafetensorsWriter {
 public:
  // Fills `out` with the tensor's bytes starting at byte `offset`; called with rising
  // offsets, at most 4 MiB at once.
  using Source = std::function<void(uint64_t offset, std::span<std::byte> out)>;

  void set_metadata(std::string key, std::string value);
  // The bytes must stay valid until write() returns.
  void add(std::string name, StoredType dtype, std::vector<int64_t> shape, std::span<const std::byte> bytes);
  void add(std::string name, StoredType dtype, std::vector<int64_t> shape, Source source);
  void write(const std::filesystem::path& path) const;

 private:
  struct Entry {
    std::string name;
    StoredType dtype;
    std::vector<int64_t> shape;
    uint64_t n_bytes;
    std::span<const std::byte> bytes;
    Source source;
  };
  Entry& add_entry(std::string name, StoredType dtype, std::vector<int64_t> shape);
  std::vector<Entry> entries_;
  std::unordered_set<std::string> names_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace reckon::data
