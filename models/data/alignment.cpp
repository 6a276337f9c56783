#include "models/data/alignment.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <unordered_map>

#include "models/data/files.h"
#include "models/data/gzip.h"
#include "runtime/core/error.h"

namespace reckon::data {
namespace {

constexpr uint64_t kMaxTextBytes = 4ull << 30;

constexpr auto kResidueTable = [] {
  std::array<uint8_t, 256> table{};
  for (auto& entry : table) entry = kNoResidue;
  for (size_t i = 0; i < 20; ++i)
    table[static_cast<unsigned char>(kResidueLetters[i])] = static_cast<uint8_t>(i);
  table['B'] = table['D'];
  table['Z'] = table['E'];
  table['U'] = table['C'];
  table['J'] = table['O'] = table['X'] = kUnknownResidue;
  return table;
}();

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
char upper(char c) { return is_lower(c) ? static_cast<char>(c - 'a' + 'A') : c; }
bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

// One sequence as it stands in the file, line breaks removed.
struct RawRow {
  std::string name;
  std::string text;
  size_t line = 0;  // where it starts, from 1
};

struct Source {
  const std::string& name;
  AlignmentFormat format;
};

class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {}
  // Next line without its end and surrounding blanks.
  bool next(std::string_view& line) {
    if (rest_.empty()) return false;
    const size_t end = std::min(rest_.find('\n'), rest_.size());
    line = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    while (!line.empty() && is_blank(line.back())) line.remove_suffix(1);
    while (!line.empty() && is_blank(line.front())) line.remove_prefix(1);
    ++number_;
    return true;
  }
  size_t number() const { return number_; }

 private:
  std::string_view rest_;
  size_t number_ = 0;
};

std::string row_label(const RawRow& row, size_t index) {
  return row.name.empty() ? fmt::format("row {} (line {})", index + 1, row.line)
                          : fmt::format("row {} {} (line {})", index + 1, in_quotes(row.name), row.line);
}

std::vector<RawRow> read_fasta_rows(std::string_view text, const std::string& name) {
  std::vector<RawRow> rows;
  Lines lines(text);
  for (std::string_view line; lines.next(line);) {
    if (line.empty() || (line.front() == '#' && rows.empty())) continue;
    if (line.front() == '>') {
      line.remove_prefix(1);
      rows.push_back({std::string(line.substr(0, line.find_first_of(" \t"))), "", lines.number()});
      continue;
    }
    RECKON_CHECK(!rows.empty(), "{}: line {}: sequence before the first '>' line", name, lines.number());
    rows.back().text += line;
  }
  for (size_t i = 0; i < rows.size(); ++i)
    RECKON_CHECK(!rows[i].text.empty(), "{}: {} has no sequence", name, row_label(rows[i], i));
  return rows;
}

std::vector<RawRow> read_plain_rows(std::string_view text) {
  std::vector<RawRow> rows;
  Lines lines(text);
  for (std::string_view line; lines.next(line);)
    if (!line.empty()) rows.push_back({"", std::string(line), lines.number()});
  return rows;
}

std::vector<RawRow> read_stockholm_rows(std::string_view text, const std::string& name) {
  std::vector<RawRow> rows;
  std::unordered_map<std::string, size_t> index;
  std::vector<size_t> last_block;  // block in which each row was last continued
  size_t block = 1;
  bool opened = false, closed = false;
  Lines lines(text);
  for (std::string_view line; lines.next(line);) {
    if (line.empty()) {
      ++block;
      continue;
    }
    RECKON_CHECK(!closed,
                 "{}: line {}: text after the end of the record ('//'): more than one Stockholm record, "
                 "expected one (split the file)",
                 name, lines.number());
    if (!opened) {
      RECKON_CHECK(line.starts_with("# STOCKHOLM"), "{}: line {}: expected '# STOCKHOLM 1.0', got {}", name,
                   lines.number(), in_quotes(line, 40));
      opened = true;
      continue;
    }
    if (line == "//") {
      closed = true;
      continue;
    }
    RECKON_CHECK(!line.starts_with("# STOCKHOLM"),
                 "{}: line {}: more than one Stockholm record, and the first lacks its '//'", name,
                 lines.number());
    if (line.front() == '#') continue;
    const size_t space = line.find_first_of(" \t");
    RECKON_CHECK(space != std::string_view::npos, "{}: line {}: expected a name, blanks and a row, got {}",
                 name, lines.number(), in_quotes(line, 40));
    const std::string row_name(line.substr(0, space));
    const std::string_view part = line.substr(line.find_first_not_of(" \t", space));
    const auto [slot, added] = index.emplace(row_name, rows.size());
    if (added) {
      rows.push_back({row_name, "", lines.number()});
      last_block.push_back(0);
    }
    RECKON_CHECK(last_block[slot->second] != block, "{}: line {}: name {} stands twice in one block", name,
                 lines.number(), in_quotes(row_name));
    last_block[slot->second] = block;
    rows[slot->second].text += part;
  }
  RECKON_CHECK(opened, "{}: no '# STOCKHOLM 1.0' line", name);
  RECKON_CHECK(closed, "{}: the Stockholm record has no '//' at its end: truncated file?", name);
  return rows;
}

bool is_gap(char c, AlignmentFormat format) {
  return c == '-' || (c == '.' && format != AlignmentFormat::a3m) ||
         ((c == '_' || c == '~') && format == AlignmentFormat::stockholm);
}

size_t n_match_columns(std::string_view row) {
  return static_cast<size_t>(std::ranges::count_if(row, [](char c) { return !is_lower(c) && c != '.'; }));
}

// Turns checked rows into residue numbers; rows must agree in their number of columns.
Alignment convert(const std::vector<RawRow>& rows, const Source& source) {
  const bool a3m = source.format == AlignmentFormat::a3m;
  RECKON_CHECK(!rows.empty(), "{}: no sequences in the file", source.name);
  const auto width_of = [&](const RawRow& row) { return a3m ? n_match_columns(row.text) : row.text.size(); };
  const size_t width = width_of(rows[0]);
  RECKON_CHECK(width > 0, "{}: {} has no columns", source.name, row_label(rows[0], 0));

  // Illegal characters first: in a file of another kind they tell more than the lengths.
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t k = 0; k < rows[i].text.size(); ++k) {
      const char c = rows[i].text[k];
      const bool legal = is_gap(c, source.format) || (a3m && c == '.') ||
                         kResidueTable[static_cast<unsigned char>(upper(c))] != kNoResidue;
      RECKON_CHECK(legal, "{}: {}: illegal character {} at column {}, expected an amino acid letter or a gap",
                   source.name, row_label(rows[i], i), in_quotes({&c, 1}), k + 1);
    }
  }
  Alignment out;
  out.n_seq = static_cast<int64_t>(rows.size());
  out.n_res = static_cast<int64_t>(width);
  out.residues.reserve(rows.size() * width);
  out.deletions.reserve(rows.size() * width);
  for (size_t i = 0; i < rows.size(); ++i) {
    RECKON_CHECK(width_of(rows[i]) == width, "{}: {} has {} columns{}, expected {} as in the first row",
                 source.name, row_label(rows[i], i), width_of(rows[i]), a3m ? " (insertions not counted)" : "",
                 width);
    size_t inserted = 0;
    for (char c : rows[i].text) {
      if (a3m && (is_lower(c) || c == '.')) {
        inserted += c != '.';
        continue;
      }
      RECKON_CHECK(inserted <= std::numeric_limits<uint16_t>::max(),
                   "{}: {} has {} inserted residues in one place", source.name, row_label(rows[i], i),
                   inserted);
      out.residues.push_back(is_gap(c, source.format) ? kGapResidue
                                                      : kResidueTable[static_cast<unsigned char>(upper(c))]);
      out.deletions.push_back(static_cast<uint16_t>(inserted));
      inserted = 0;
    }
    out.names.push_back(rows[i].name);
  }
  return out;
}

// a3m or aligned FASTA, from the rows' lengths with and without lower-case letters and dots.
AlignmentFormat detect_fasta_kind(const std::vector<RawRow>& rows, const std::string& name) {
  std::string_view stem = name;
  if (stem.ends_with(".gz")) stem.remove_suffix(3);
  if (stem.ends_with(".a3m")) return AlignmentFormat::a3m;
  bool equal_length = true, equal_matches = true, lower = false, gaps = false, dots = false;
  for (const RawRow& row : rows) {
    equal_length &= row.text.size() == rows[0].text.size();
    equal_matches &= n_match_columns(row.text) == n_match_columns(rows[0].text);
    lower |= std::ranges::any_of(row.text, is_lower);
    dots |= row.text.find('.') != std::string::npos;
    gaps |= row.text.find_first_of("-.") != std::string::npos;
  }
  if (equal_length && (!equal_matches || !lower || dots)) return AlignmentFormat::fasta;
  if (equal_length)
    raise_error(
        fmt::format("{}: lower-case letters may be insertions (a3m) or columns (aligned FASTA), both fit these "
                    "{} row(s): name the format",
                    name, rows.size()));
  if (equal_matches) return AlignmentFormat::a3m;
  if (!gaps)
    raise_error(
        fmt::format("{}: looks like unaligned FASTA: {} sequences of different lengths ({} has {}, {} has {}) "
                    "without gaps, expected an alignment: align them first",
                    name, rows.size(), in_quotes(rows[0].name), rows[0].text.size(), in_quotes(rows[1].name),
                    rows[1].text.size()));
  return lower ? AlignmentFormat::a3m : AlignmentFormat::fasta;  // ragged either way: convert() names the row
}

AlignmentFormat detect_format(std::string_view text, const std::string& name) {
  Lines lines(text);
  std::string_view line;
  while (lines.next(line) && (line.empty() || (line.front() == '#' && !line.starts_with("# STOCKHOLM"))))
    line = {};
  RECKON_CHECK(!line.empty(), "{}: nothing but blank lines and comments, expected an alignment", name);
  if (line.starts_with("# STOCKHOLM")) return AlignmentFormat::stockholm;
  if (line.front() == '>') return AlignmentFormat::fasta;
  RECKON_CHECK(!line.starts_with("CLUSTAL"),
               "{}: Clustal format is not supported, expected a3m, aligned FASTA, "
               "Stockholm or one row per line",
               name);
  return AlignmentFormat::rows;
}

void refuse_binary(std::string_view text, const std::string& name) {
  const auto control = [](char c) {
    return static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\r' && c != '\t';
  };
  const auto found = std::ranges::find_if(text, control);
  RECKON_CHECK(found == text.end(), "{}: binary file (byte 0x{:02x} at offset {}), expected a text alignment",
               name, static_cast<unsigned char>(*found), found - text.begin());
}

}  // namespace

uint8_t residue_of_letter(char letter) {
  return letter == '-' ? kGapResidue : kResidueTable[static_cast<unsigned char>(letter)];
}

Alignment parse_alignment(std::span<const char> data, const std::string& name, AlignmentFormat format) {
  RECKON_CHECK(!data.empty(), "{}: empty file, expected an alignment", name);
  std::string unpacked;
  std::string_view text(data.data(), data.size());
  if (looks_gzipped(data)) {
    unpacked = gunzip(data, name, kMaxTextBytes);
    text = unpacked;
    RECKON_CHECK(!text.empty(), "{}: empty after decompression, expected an alignment", name);
  }
  refuse_binary(text, name);
  const bool detect = format == AlignmentFormat::detect;
  if (detect) format = detect_format(text, name);
  switch (format) {
    case AlignmentFormat::stockholm:
      return convert(read_stockholm_rows(text, name), {name, format});
    case AlignmentFormat::rows:
      return convert(read_plain_rows(text), {name, format});
    default:
      break;
  }
  const auto rows = read_fasta_rows(text, name);
  RECKON_CHECK(!rows.empty(), "{}: no sequences in the file", name);
  if (detect) format = detect_fasta_kind(rows, name);
  return convert(rows, {name, format});
}

Alignment read_alignment(const std::filesystem::path& path, AlignmentFormat format) {
  const MappedFile file = MappedFile::open(path);
  const auto bytes = file.bytes();
  return parse_alignment({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string(), format);
}

Alignment keep_query_columns(const Alignment& a) {
  RECKON_CHECK(a.n_seq >= 1, "no rows: there is no query");
  Alignment out;
  out.n_seq = a.n_seq;
  out.names = a.names;
  const auto width = static_cast<size_t>(a.n_res);
  for (size_t row = 0; row < static_cast<size_t>(a.n_seq); ++row) {
    uint32_t pending = 0;
    for (size_t column = 0; column < width; ++column) {
      const size_t at = row * width + column;
      pending += a.deletions[at];
      if (a.residues[column] == kGapResidue) {
        pending += a.residues[at] != kGapResidue;
        continue;
      }
      RECKON_CHECK(pending <= std::numeric_limits<uint16_t>::max(), "row {}: {} inserted residues in one place",
                   row + 1, pending);
      out.residues.push_back(a.residues[at]);
      out.deletions.push_back(static_cast<uint16_t>(pending));
      pending = 0;
    }
  }
  out.n_res = static_cast<int64_t>(out.residues.size()) / out.n_seq;
  RECKON_CHECK(out.n_res > 0, "the query row {} consists of gaps only",
               in_quotes(a.names.empty() ? std::string_view() : std::string_view(a.names[0])));
  return out;
}

}  // namespace reckon::data
