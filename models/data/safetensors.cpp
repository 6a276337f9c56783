#include "models/data/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>

#include "models/data/safetensors_header.h"
#include "models/data/strict_json.h"
#include "runtime/core/error.h"

namespace reckon::data {
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors data is little-endian and is not swapped");

constexpr uint64_t kMaxHeaderBytes = 100ull << 20;
constexpr size_t kChunkBytes = 4u << 20;

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size() && i < 16; ++i) text += fmt::format("{}{}", i ? ", " : "", shape[i]);
  return text + (shape.size() > 16 ? fmt::format(", ... {} axes]", shape.size()) : "]");
}

// Zero extents count as one in the overflow check, so that strides computed from
// the other axes stay in range too.
uint64_t byte_count(const std::vector<int64_t>& shape, StoredType dtype, const std::string& where) {
  uint64_t product = size_of(dtype);
  bool empty = false;
  for (int64_t extent : shape) {
    RECKON_CHECK(extent >= 0, "{}: negative shape entry {} in {}", where, extent, shape_text(shape));
    empty |= extent == 0;
    RECKON_CHECK(
        !__builtin_mul_overflow(product, static_cast<uint64_t>(std::max<int64_t>(extent, 1)), &product) &&
            product < (1ull << 63),
        "{}: shape {} of {} has more bytes than 2^63", where, shape_text(shape), name_of(dtype));
  }
  return empty ? 0 : product;
}

const TensorView& missing_tensor(const std::string& file, std::string_view name,
                                 const std::vector<std::string>& known) {
  // The names that share the longest ending are the likeliest: a wrong prefix is the common mistake.
  const auto shared = [&](const std::string& other) {
    const size_t most = std::min(other.size(), name.size());
    size_t n = 0;
    while (n < most && other[other.size() - 1 - n] == name[name.size() - 1 - n]) ++n;
    return n;
  };
  const std::string* best = nullptr;
  for (const auto& other : known)
    if (!best || shared(other) > shared(*best)) best = &other;
  raise_error(fmt::format("{}: no tensor {} among its {}{}", file, in_quotes(name), known.size(),
                          best ? fmt::format(" (nearest: {})", in_quotes(*best)) : ""));
}

}  // namespace

size_t size_of(StoredType type) {
  switch (type) {
    case StoredType::F64:
    case StoredType::I64:
    case StoredType::U64:
      return 8;
    case StoredType::F32:
    case StoredType::I32:
    case StoredType::U32:
      return 4;
    case StoredType::F16:
    case StoredType::BF16:
    case StoredType::I16:
    case StoredType::U16:
      return 2;
    default:
      return 1;
  }
}

std::optional<DType> runtime_type(StoredType type) {
  switch (type) {
    case StoredType::F64:
      return DType::f64;
    case StoredType::F32:
      return DType::f32;
    case StoredType::F16:
      return DType::f16;
    case StoredType::BF16:
      return DType::bf16;
    case StoredType::I64:
      return DType::i64;
    case StoredType::U8:
    case StoredType::BOOL:
      return DType::u8;
    case StoredType::F8_E4M3:
      return DType::f8e4m3;
    case StoredType::F8_E5M2:
      return DType::f8e5m2;
    default:
      return std::nullopt;
  }
}

StoredType stored_type(DType type) {
  switch (type) {
    case DType::f64:
      return StoredType::F64;
    case DType::f32:
      return StoredType::F32;
    case DType::f16:
      return StoredType::F16;
    case DType::bf16:
      return StoredType::BF16;
    case DType::i64:
      return StoredType::I64;
    case DType::u8:
      return StoredType::U8;
    case DType::f8e4m3:
      return StoredType::F8_E4M3;
    case DType::f8e5m2:
      return StoredType::F8_E5M2;
  }
  raise_error("no safetensors type for this dtype");
}

int64_t TensorView::n_elements() const { return static_cast<int64_t>(bytes.size() / size_of(dtype)); }

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  MappedFile mapped = MappedFile::open(path);
  SafetensorsFile file = parse(mapped.bytes(), path.string());
  file.mapped_ = std::move(mapped);
  return file;
}

SafetensorsFile SafetensorsFile::parse(std::span<const std::byte> buffer, std::string name) {
  RECKON_CHECK(buffer.size() >= 8, "{}: {} byte(s), expected at least the 8 of the header length: truncated?",
               name, buffer.size());
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, buffer.data(), 8);
  RECKON_CHECK(header_bytes <= kMaxHeaderBytes,
               "{}: header length {} is above the limit of {}: not a safetensors file?", name, header_bytes,
               kMaxHeaderBytes);
  RECKON_CHECK(header_bytes <= buffer.size() - 8,
               "{}: header length {} but only {} byte(s) follow it: truncated?", name, header_bytes,
               buffer.size() - 8);
  const auto* text = reinterpret_cast<const char*>(buffer.data() + 8);
  SafetensorsHeader header = parse_safetensors_header({text, header_bytes}, name);
  const auto data = buffer.subspan(8 + header_bytes);

  std::stable_sort(header.entries.begin(), header.entries.end(),
                   [](const HeaderEntry& a, const HeaderEntry& b) {
                     return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
                   });
  SafetensorsFile file;
  file.file_name_ = std::move(name);
  file.metadata_ = std::move(header.metadata);
  uint64_t next = 0;
  for (HeaderEntry& entry : header.entries) {
    const std::string where = fmt::format("{}: tensor {}", file.file_name_, in_quotes(entry.name));
    RECKON_CHECK(entry.begin <= entry.end, "{}: data_offsets [{}, {}] run backwards", where, entry.begin,
                 entry.end);
    RECKON_CHECK(entry.end <= data.size(),
                 "{}: data_offsets [{}, {}] end beyond the {} data byte(s): truncated file?", where,
                 entry.begin, entry.end, data.size());
    RECKON_CHECK(entry.begin == next, "{}: data starts at byte {}, expected {} (the tensors' ranges {})", where,
                 entry.begin, next, entry.begin < next ? "overlap" : "leave a hole");
    const uint64_t expected = byte_count(entry.shape, entry.dtype, where);
    RECKON_CHECK(entry.end - entry.begin == expected, "{}: {} byte(s) of data, expected {} for shape {} of {}",
                 where, entry.end - entry.begin, expected, shape_text(entry.shape), name_of(entry.dtype));
    next = entry.end;
    file.index_.emplace(entry.name, file.names_.size());
    file.names_.push_back(std::move(entry.name));
    file.tensors_.push_back({entry.dtype, std::move(entry.shape), data.subspan(entry.begin, expected)});
  }
  RECKON_CHECK(next == data.size(), "{}: {} byte(s) follow the last tensor, expected none", file.file_name_,
               data.size() - next);
  return file;
}

const TensorView& SafetensorsFile::tensor(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  if (found == index_.end()) return missing_tensor(file_name_, name, names_);
  return tensors_[found->second];
}

std::map<std::string, std::string> parse_shard_index(std::string_view text, const std::string& name) {
  const nlohmann::json index = parse_strict_json(text, name);
  RECKON_CHECK(index.is_object() && index.contains("weight_map") && index["weight_map"].is_object(),
               "{}: expected an object with a weight_map object", name);
  std::map<std::string, std::string> owners;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    RECKON_CHECK(file.is_string(), "{}: weight_map of tensor {} is {}, expected a file name", name,
                 in_quotes(tensor), file.type_name());
    const auto& shard = file.get_ref<const std::string&>();
    const bool plain = !shard.empty() && shard.front() != '.' &&
                       shard.find_first_of("/\\") == std::string::npos && shard.find('\0') == std::string::npos;
    RECKON_CHECK(plain,
                 "{}: shard name {} of tensor {} refused, expected a plain file name in the same directory",
                 name, in_quotes(shard), in_quotes(tensor));
    owners.emplace(tensor, shard);
  }
  RECKON_CHECK(!owners.empty(), "{}: weight_map is empty", name);
  return owners;
}

ShardedSafetensors read_sharded(const std::filesystem::path& directory) {
  const auto single = directory / "model.safetensors";
  const auto index = directory / "model.safetensors.index.json";
  RECKON_CHECK(std::filesystem::is_directory(directory),
               "{} is not a directory: expected a checkpoint directory", directory.string());
  ShardedSafetensors set;
  set.where_ = directory.string();
  if (std::filesystem::exists(single)) {
    set.files_.push_back(SafetensorsFile::open(single));
    set.names_ = set.files_[0].names();
    for (const auto& name : set.names_) set.owner_.emplace(name, 0);
    return set;
  }
  RECKON_CHECK(std::filesystem::exists(index),
               "{} holds neither model.safetensors nor model.safetensors.index.json", directory.string());
  const auto owners = parse_shard_index(read_text_file(index, kMaxHeaderBytes), index.string());
  std::map<std::string, size_t> shard_number;
  for (const auto& [tensor, shard] : owners) {
    if (!shard_number.contains(shard)) {
      shard_number.emplace(shard, set.files_.size());
      set.files_.push_back(SafetensorsFile::open(directory / shard));
    }
    const size_t number = shard_number[shard];
    RECKON_CHECK(set.files_[number].contains(tensor), "{}: tensor {} should be in shard {} but is not there",
                 index.string(), in_quotes(tensor), in_quotes(shard));
    set.owner_.emplace(tensor, number);
  }
  for (const auto& file : set.files_) {
    for (const auto& name : file.names()) {
      const auto owner = set.owner_.find(name);
      RECKON_CHECK(owner != set.owner_.end() && &set.files_[owner->second] == &file,
                   "{}: tensor {} is in {} but the index {}", index.string(), in_quotes(name), file.file_name(),
                   owner == set.owner_.end() ? "does not list it" : "assigns it to another shard");
      set.names_.push_back(name);
    }
  }
  return set;
}

const TensorView& ShardedSafetensors::tensor(std::string_view name) const {
  const auto found = owner_.find(std::string(name));
  if (found == owner_.end()) return missing_tensor(where_, name, names_);
  return files_[found->second].tensor(name);
}

void SafetensorsWriter::set_metadata(std::string key, std::string value) {
  RECKON_CHECK(find_invalid_utf8(key) == std::string::npos && find_invalid_utf8(value) == std::string::npos,
               "metadata {}: key and value must be UTF-8", in_quotes(key));
  metadata_[std::move(key)] = std::move(value);
}

SafetensorsWriter::Entry& SafetensorsWriter::add_entry(std::string name, StoredType dtype,
                                                       std::vector<int64_t> shape) {
  RECKON_CHECK(name != "__metadata__" && find_invalid_utf8(name) == std::string::npos,
               "tensor name {} refused: names must be UTF-8 and not the reserved __metadata__",
               in_quotes(name));
  RECKON_CHECK(!names_.contains(name), "tensor {} was added before: names must differ", in_quotes(name));
  const uint64_t n_bytes = byte_count(shape, dtype, fmt::format("tensor {}", in_quotes(name)));
  names_.insert(name);
  return entries_.emplace_back(Entry{std::move(name), dtype, std::move(shape), n_bytes, {}, {}});
}

void SafetensorsWriter::add(std::string name, StoredType dtype, std::vector<int64_t> shape,
                            std::span<const std::byte> bytes) {
  const uint64_t expected = byte_count(shape, dtype, fmt::format("tensor {}", in_quotes(name)));
  RECKON_CHECK(bytes.size() == expected, "tensor {}: {} byte(s) given, expected {} for shape {} of {}",
               in_quotes(name), bytes.size(), expected, shape_text(shape), name_of(dtype));
  add_entry(std::move(name), dtype, std::move(shape)).bytes = bytes;
}

void SafetensorsWriter::add(std::string name, StoredType dtype, std::vector<int64_t> shape, Source source) {
  RECKON_CHECK(source != nullptr, "tensor {}: the source of its bytes is empty", in_quotes(name));
  add_entry(std::move(name), dtype, std::move(shape)).source = std::move(source);
}

void SafetensorsWriter::write(const std::filesystem::path& path) const {
  std::vector<const Entry*> order(entries_.size());
  std::transform(entries_.begin(), entries_.end(), order.begin(), [](const Entry& e) { return &e; });
  std::stable_sort(order.begin(), order.end(),
                   [](const Entry* a, const Entry* b) { return size_of(a->dtype) > size_of(b->dtype); });
  std::string text = "{";
  if (!metadata_.empty()) text += "\"__metadata__\":" + nlohmann::json(metadata_).dump();
  uint64_t offset = 0;
  for (const Entry* entry : order) {
    const nlohmann::json description = {{"dtype", name_of(entry->dtype)},
                                        {"shape", entry->shape},
                                        {"data_offsets", {offset, offset + entry->n_bytes}}};
    text += (text.size() > 1 ? "," : "") + nlohmann::json(entry->name).dump() + ":" + description.dump();
    offset += entry->n_bytes;
  }
  text += "}";
  text.append((8 - text.size() % 8) % 8, ' ');
  RECKON_CHECK(text.size() <= kMaxHeaderBytes, "{}: header of {} bytes is above the format's limit of {}",
               path.string(), text.size(), kMaxHeaderBytes);

  ReplacingFile file(path);
  const uint64_t header_bytes = text.size();
  file.append(std::as_bytes(std::span(&header_bytes, 1)));
  file.append(text);
  std::vector<std::byte> chunk;
  for (const Entry* entry : order) {
    if (!entry->source) {
      file.append(entry->bytes);
      continue;
    }
    for (uint64_t done = 0; done < entry->n_bytes; done += chunk.size()) {
      chunk.resize(std::min<uint64_t>(kChunkBytes, entry->n_bytes - done));
      entry->source(done, chunk);
      file.append(chunk);
    }
  }
  file.commit();
}

}  // namespace reckon::data
