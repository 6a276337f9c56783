#include "models/data/token_file.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "runtime/core/error.h"
#include "runtime/core/rng.h"

namespace reckon::data {
namespace {

static_assert(std::endian::native == std::endian::little, "token files are little-endian and are not swapped");

constexpr std::array<char, 8> kMagic{'R', 'E', 'C', 'K', 'T', 'O', 'K', '\n'};
constexpr uint32_t kVersion = 1;
constexpr uint64_t kMaxTextBytes = 64ull << 30;
constexpr uint64_t kTokenStream = 0x746f6b656e000000ull;  // row number in the low bits

struct Header {
  std::array<char, 8> magic = kMagic;
  uint32_t version = kVersion;
  uint32_t bytes_per_token = 2;
  uint64_t vocab_size = 0;
  uint64_t n_tokens = 0;
  uint64_t tokenizer_fingerprint = 0;
  uint64_t source_fingerprint = 0;
  std::array<char, 64> tokenizer_name{};  // zero-padded, its end kept when longer
  uint64_t checksum = 0;                  // of all bytes before it
};
static_assert(sizeof(Header) == 120 && std::has_unique_object_representations_v<Header>);

uint64_t checksum_of(const Header& header) {
  return fnv1a({reinterpret_cast<const char*>(&header), offsetof(Header, checksum)});
}

std::vector<std::filesystem::path> source_files(const std::filesystem::path& input) {
  RECKON_CHECK(std::filesystem::exists(input), "{}: no such file or directory, expected the text to train on",
               input.string());
  if (!std::filesystem::is_directory(input)) return {input};
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(input))
    if (entry.is_regular_file() && !entry.path().filename().string().starts_with('.'))
      files.push_back(entry.path());
  RECKON_CHECK(!files.empty(),
               "{}: no text files in this directory (subdirectories and hidden files do not count)",
               input.string());
  std::ranges::sort(files);
  return files;
}

uint64_t fingerprint_of(const std::vector<std::filesystem::path>& files) {
  uint64_t hash = kFnvStart;
  for (const auto& file : files) {
    const auto time = std::filesystem::last_write_time(file).time_since_epoch().count();
    hash = fnv1a(fmt::format("{}\n{} {}\n", file.filename().string(), std::filesystem::file_size(file), time),
                 hash);
  }
  return hash;
}

void append_ids(ReplacingFile& out, std::span<const int64_t> ids, int bytes_per_token) {
  std::vector<std::byte> packed(ids.size() * static_cast<size_t>(bytes_per_token));
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto wide = static_cast<uint32_t>(ids[i]);
    std::memcpy(packed.data() + i * static_cast<size_t>(bytes_per_token), &wide,
                static_cast<size_t>(bytes_per_token));
  }
  out.append(packed);
}

std::vector<int64_t> ids_of(const std::filesystem::path& file, const Tokenizer& tokenizer) {
  const std::string text = read_text_file(file, kMaxTextBytes);
  RECKON_CHECK(!text.empty(), "{} is empty, expected text", file.string());
  if (!tokenizer.takes_any_bytes()) {
    const size_t zero = text.find('\0');
    RECKON_CHECK(
        zero == std::string::npos,
        "{} is a binary file (zero byte at offset {}), expected UTF-8 text: only the byte tokenizer takes any "
        "bytes",
        file.string(), zero);
  }
  try {
    return tokenizer.encode(text);
  } catch (const Error& e) {
    raise_error(fmt::format("{}: {}", file.string(), e.what()));
  }
}

std::string_view part_name(TokenPart part) {
  return part == TokenPart::train ? "training part (first 90 %)" : "validation part (last 10 %)";
}

}  // namespace

void build_token_file(const std::filesystem::path& input, const std::filesystem::path& output,
                      const Tokenizer& tokenizer) {
  const auto files = source_files(input);
  Header header;
  header.vocab_size = static_cast<uint64_t>(tokenizer.vocab_size());
  header.bytes_per_token = header.vocab_size <= 65536 ? 2 : 4;
  header.tokenizer_fingerprint = tokenizer.fingerprint();
  header.source_fingerprint = fingerprint_of(files);
  const std::string& name = tokenizer.name();
  const size_t kept = std::min(name.size(), header.tokenizer_name.size() - 1);
  name.copy(header.tokenizer_name.data(), kept, name.size() - kept);

  ReplacingFile out(output);
  out.append(std::as_bytes(std::span(&header, 1)));
  for (size_t i = 0; i < files.size(); ++i) {
    std::vector<int64_t> ids = ids_of(files[i], tokenizer);
    if (i + 1 < files.size()) ids.push_back(tokenizer.end_of_text());
    append_ids(out, ids, static_cast<int>(header.bytes_per_token));
    header.n_tokens += ids.size();
  }
  header.checksum = checksum_of(header);
  out.overwrite(0, std::as_bytes(std::span(&header, 1)));
  out.commit();
}

TokenFile TokenFile::open(const std::filesystem::path& path) {
  MappedFile mapped = MappedFile::open(path);
  TokenFile file = parse(mapped.bytes(), path.string());
  file.mapped_ = std::move(mapped);
  return file;
}

TokenFile TokenFile::parse(std::span<const std::byte> buffer, std::string name) {
  Header header;
  RECKON_CHECK(buffer.size() >= sizeof header,
               "{}: {} byte(s), expected at least the {} of a token file's header", name, buffer.size(),
               sizeof header);
  std::memcpy(&header, buffer.data(), sizeof header);
  RECKON_CHECK(header.magic == kMagic, "{}: not a token file (a text must be tokenized first)", name);
  RECKON_CHECK(header.version == kVersion, "{}: token file of version {}, expected {}: build it again", name,
               header.version, kVersion);
  RECKON_CHECK(header.checksum == checksum_of(header),
               "{}: damaged header (checksum differs): build the file again", name);
  RECKON_CHECK(header.bytes_per_token == 2 || header.bytes_per_token == 4,
               "{}: {} bytes per token, expected 2 or 4", name, header.bytes_per_token);
  RECKON_CHECK(header.vocab_size >= 1 && header.vocab_size <= (1ull << 31), "{}: vocabulary of {} tokens", name,
               header.vocab_size);
  const uint64_t data_bytes = buffer.size() - sizeof header;
  RECKON_CHECK(
      data_bytes % header.bytes_per_token == 0 && data_bytes / header.bytes_per_token == header.n_tokens,
      "{}: {} byte(s) of ids, expected {} tokens of {} bytes: truncated file?", name, data_bytes,
      header.n_tokens, header.bytes_per_token);
  TokenFile file;
  file.file_name_ = std::move(name);
  file.tokenizer_name_ = {header.tokenizer_name.begin(), std::ranges::find(header.tokenizer_name, '\0')};
  file.ids_ = buffer.subspan(sizeof header);
  file.n_tokens_ = header.n_tokens;
  file.vocab_size_ = static_cast<int64_t>(header.vocab_size);
  file.bytes_per_token_ = static_cast<int>(header.bytes_per_token);
  file.tokenizer_fingerprint_ = header.tokenizer_fingerprint;
  file.source_fingerprint_ = header.source_fingerprint;
  return file;
}

TokenFile TokenFile::open_or_build(const std::filesystem::path& input, const std::filesystem::path& output,
                                   const Tokenizer& tokenizer, bool* rebuilt) {
  if (rebuilt) *rebuilt = false;
  const uint64_t source = fingerprint_of(source_files(input));
  if (std::filesystem::exists(output)) {
    // A file at the output path that is no token file is not ours to replace, so its Error passes.
    TokenFile file = open(output);
    if (file.source_fingerprint_ == source && file.tokenizer_fingerprint_ == tokenizer.fingerprint())
      return file;
  }
  build_token_file(input, output, tokenizer);
  if (rebuilt) *rebuilt = true;
  return open(output);
}

void TokenFile::read(uint64_t first, std::span<int64_t> out) const {
  RECKON_CHECK(first <= n_tokens_ && out.size() <= n_tokens_ - first,
               "{}: tokens {} to {} wanted, the file has {}", file_name_, first, first + out.size(), n_tokens_);
  const auto width = static_cast<size_t>(bytes_per_token_);
  const std::byte* source = ids_.data() + first * width;
  for (size_t i = 0; i < out.size(); ++i) {
    uint32_t id = 0;
    std::memcpy(&id, source + i * width, width);
    RECKON_CHECK(id < vocab_size_, "{}: token {} is id {}, expected below the vocabulary's {}: damaged file?",
                 file_name_, first + i, id, vocab_size_);
    out[i] = id;
  }
}

TokenBatches::TokenBatches(const TokenFile& file, int64_t batch, int64_t seq, uint64_t seed, TokenPart part)
    : file_(&file), batch_(batch), seq_(seq), seed_(seed), part_(part) {
  RECKON_CHECK(batch >= 1 && seq >= 1 && seq < (int64_t{1} << 40) && batch < (int64_t{1} << 20),
               "batch {} of sequences of {} tokens, expected 1 to 2^20 of 1 to 2^40", batch, seq);
  const uint64_t n = file.n_tokens(), n_validation = n / 10;
  begin_ = part == TokenPart::validation ? n - n_validation : 0;
  end_ = part == TokenPart::train ? n - n_validation : n;
  const uint64_t available = end_ - begin_, needed = static_cast<uint64_t>(seq) + 1;
  if (available >= needed) return;
  const std::string where =
      part == TokenPart::all ? "" : fmt::format(" of which the {} has {}", part_name(part), available);
  const std::string advice =
      available >= 2 ? fmt::format("use a longer text or --seq <= {}", available - 1) : "use a longer text";
  raise_error(fmt::format("sequence of {} needs {} tokens, file has {}{}: {} ({})", seq, needed, n, where,
                          advice, file.file_name()));
}

uint64_t TokenBatches::n_steps_of_one_pass() const {
  const uint64_t n_windows = (end_ - begin_ - 1) / static_cast<uint64_t>(seq_);
  const auto batch = static_cast<uint64_t>(batch_);
  return (n_windows + batch - 1) / batch;
}

TokenBatch TokenBatches::at(uint64_t step) const {
  TokenBatch out{batch_, seq_, std::vector<int64_t>(static_cast<size_t>(batch_ * seq_)),
                 std::vector<int64_t>(static_cast<size_t>(batch_ * seq_))};
  const auto seq = static_cast<uint64_t>(seq_);
  std::vector<int64_t> window(seq + 1);
  for (uint64_t row = 0; row < static_cast<uint64_t>(batch_); ++row) {
    uint64_t first = 0;
    if (part_ == TokenPart::validation) {
      const uint64_t n_windows = (end_ - begin_ - 1) / seq;
      // Reduced first: the product must not wrap.
      const uint64_t batch = static_cast<uint64_t>(batch_) % n_windows;
      first = begin_ + ((step % n_windows) * batch + row) % n_windows * seq;
    } else {
      const Philox rng{seed_, kTokenStream + row};
      first = begin_ + uniform_below(rng(step), end_ - begin_ - seq);
    }
    file_->read(first, window);
    std::copy_n(window.begin(), seq, out.ids.begin() + static_cast<std::ptrdiff_t>(row * seq));
    std::copy_n(window.begin() + 1, seq, out.labels.begin() + static_cast<std::ptrdiff_t>(row * seq));
  }
  return out;
}

}  // namespace reckon::data
