#include "models/data/safetensors_header.h"

#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "models/data/strict_json.h"
#include "runtime/core/error.h"

namespace reckon::data {
namespace {

constexpr std::array<std::pair<StoredType, std::string_view>, 15> kTypeNames{
    {{StoredType::F64, "F64"},
     {StoredType::F32, "F32"},
     {StoredType::F16, "F16"},
     {StoredType::BF16, "BF16"},
     {StoredType::I64, "I64"},
     {StoredType::I32, "I32"},
     {StoredType::I16, "I16"},
     {StoredType::I8, "I8"},
     {StoredType::U64, "U64"},
     {StoredType::U32, "U32"},
     {StoredType::U16, "U16"},
     {StoredType::U8, "U8"},
     {StoredType::BOOL, "BOOL"},
     {StoredType::F8_E4M3, "F8_E4M3"},
     {StoredType::F8_E5M2, "F8_E5M2"}}};

// Callbacks of the JSON parser. Only three places accept anything: the top object's keys, the strings of
// __metadata__, and dtype / shape / data_offsets of one tensor.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  HeaderReader(const std::string& file_name, SafetensorsHeader& header) : file_(file_name), header_(header) {}

  bool start_object(size_t) override {
    if (place_ == Place::before) {
      place_ = Place::top;
    } else if (place_ == Place::top) {
      place_ = in_metadata_ ? Place::metadata : Place::tensor;
      has_dtype_ = has_shape_ = has_offsets_ = false;
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::tensor) {
      RECKON_CHECK(has_dtype_ && has_shape_ && has_offsets_, "{}: tensor {} lacks its {}", file_, where(),
                   !has_dtype_ ? "dtype" : (!has_shape_ ? "shape" : "data_offsets"));
      place_ = Place::top;
    } else if (place_ == Place::metadata) {
      place_ = Place::top;
    } else {
      place_ = Place::after;
    }
    return true;
  }

  bool key(std::string& text) override {
    if (place_ == Place::top) {
      in_metadata_ = text == "__metadata__";
      RECKON_CHECK(seen_.insert(text).second, "{}: duplicate entry {} in the header", file_, in_quotes(text));
      if (!in_metadata_) {
        header_.entries.emplace_back();
        header_.entries.back().name = text;
      }
    } else if (place_ == Place::metadata) {
      const bool added = header_.metadata.try_emplace(text).second;
      RECKON_CHECK(added, "{}: duplicate key {} in __metadata__", file_, in_quotes(text));
    } else {
      bool* seen = text == "dtype" ? &has_dtype_ : text == "shape" ? &has_shape_ : &has_offsets_;
      RECKON_CHECK(seen != &has_offsets_ || text == "data_offsets",
                   "{}: tensor {}: unknown key {}, expected dtype, shape, data_offsets", file_, where(),
                   in_quotes(text));
      RECKON_CHECK(!*seen, "{}: tensor {}: duplicate key {}", file_, where(), in_quotes(text));
      *seen = true;
    }
    key_ = text;
    return true;
  }

  bool start_array(size_t) override {
    if (place_ != Place::tensor || key_ == "dtype") unexpected("an array");
    place_ = key_ == "shape" ? Place::shape : Place::offsets;
    n_offsets_ = 0;
    return true;
  }

  bool end_array() override {
    if (place_ == Place::offsets)
      RECKON_CHECK(n_offsets_ == 2, "{}: tensor {}: data_offsets has {} number(s), expected 2", file_, where(),
                   n_offsets_);
    place_ = Place::tensor;
    return true;
  }

  bool number_unsigned(uint64_t value) override {
    auto* entry = header_.entries.empty() ? nullptr : &header_.entries.back();
    if (place_ == Place::shape) {
      constexpr auto kLargest = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
      RECKON_CHECK(value <= kLargest, "{}: tensor {}: shape entry {} is larger than {}", file_, where(), value,
                   kLargest);
      entry->shape.push_back(static_cast<int64_t>(value));
    } else if (place_ == Place::offsets) {
      RECKON_CHECK(n_offsets_ < 2, "{}: tensor {}: data_offsets has more than 2 numbers", file_, where());
      (n_offsets_++ == 0 ? entry->begin : entry->end) = value;
    } else {
      unexpected("a number");
    }
    return true;
  }

  bool number_integer(int64_t value) override {
    RECKON_CHECK(place_ != Place::shape && place_ != Place::offsets,
                 "{}: tensor {}: negative {} {}, expected a whole number >= 0", file_, where(),
                 place_ == Place::shape ? "shape entry" : "data offset", value);
    unexpected("a number");
  }

  bool number_float(double, const std::string& text) override {
    RECKON_CHECK(place_ != Place::shape && place_ != Place::offsets,
                 "{}: tensor {}: {} {} is not a whole number below 2^63", file_, where(),
                 place_ == Place::shape ? "shape entry" : "data offset", in_quotes(text, 40));
    unexpected("a number");
  }

  bool string(std::string& value) override {
    if (place_ == Place::metadata) {
      header_.metadata[key_] = value;
    } else if (place_ == Place::tensor && key_ == "dtype") {
      header_.entries.back().dtype = stored_type_from_name(value, file_, where());
    } else {
      unexpected("a string");
    }
    return true;
  }

  bool null() override { unexpected("null"); }
  bool boolean(bool) override { unexpected("a boolean"); }
  bool binary(nlohmann::json::binary_t&) override { unexpected("binary data"); }

  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& e) override {
    raise_error(
        fmt::format("{}: header is not valid JSON at byte {} of it: {}", file_, position, json_reason(e)));
  }

 private:
  enum class Place { before, top, metadata, tensor, shape, offsets, after };

  std::string where() const { return in_quotes(header_.entries.empty() ? "" : header_.entries.back().name); }

  [[noreturn]] void unexpected(std::string_view got) const {
    if (place_ == Place::before) raise_error(fmt::format("{}: header is {}, expected an object", file_, got));
    if (place_ == Place::metadata || (place_ == Place::top && in_metadata_))
      raise_error(fmt::format("{}: __metadata__ holds {} under {}, expected an object of strings", file_, got,
                              in_quotes(key_)));
    const std::string_view inside = place_ == Place::shape     ? "shape"
                                    : place_ == Place::offsets ? "data_offsets"
                                                               : std::string_view(key_);
    raise_error(
        fmt::format("{}: tensor {}: {} is not allowed under {}", file_, where(), got, in_quotes(inside)));
  }

  const std::string& file_;
  SafetensorsHeader& header_;
  std::unordered_set<std::string> seen_;
  Place place_ = Place::before;
  std::string key_;
  int n_offsets_ = 0;
  bool in_metadata_ = false, has_dtype_ = false, has_shape_ = false, has_offsets_ = false;
};

}  // namespace

std::string_view name_of(StoredType type) {
  for (const auto& [known, text] : kTypeNames)
    if (known == type) return text;
  return "?";
}

StoredType stored_type_from_name(std::string_view text, const std::string& file_name,
                                 const std::string& tensor) {
  std::string known_names;
  for (const auto& [type, known] : kTypeNames) {
    if (known == text) return type;
    known_names += known_names.empty() ? "" : " ";
    known_names += known;
  }
  raise_error(fmt::format("{}: tensor {}: unknown dtype {}, expected one of {}", file_name, tensor,
                          in_quotes(text), known_names));
}

SafetensorsHeader parse_safetensors_header(std::string_view json, const std::string& file_name) {
  RECKON_CHECK(!json.empty() && json.front() == '{',
               "{}: header starts with {}, expected '{{': not a safetensors file?", file_name,
               in_quotes(json.substr(0, 8)));
  // The JSON parser takes a zero byte for the end of its input and would ignore what follows.
  const size_t zero = json.find('\0');
  RECKON_CHECK(zero == std::string_view::npos, "{}: zero byte at offset {} of the header, expected JSON text",
               file_name, zero);
  SafetensorsHeader header;
  HeaderReader reader(file_name, header);
  nlohmann::json::sax_parse(json, &reader);
  return header;
}

}  // namespace reckon::data
