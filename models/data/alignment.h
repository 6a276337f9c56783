// Multiple sequence alignments from a3m, aligned FASTA, Stockholm and one-row-per-line files,
// plain or gzipped. Called by the Evoformer data path. Rows are columns of residue numbers;
// insertions of a3m become deletion counts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace reckon::data {

// Residue numbers: the 20 amino acids in this order, then unknown, then gap. 22 is the mask of MsaBatches.
constexpr std::string_view kResidueLetters = "ARNDCQEGHILKMFPSTWYVX-";
constexpr uint8_t kUnknownResidue = 20, kGapResidue = 21, kNoResidue = 255;

// B, Z and U count as D, E and C; J, O and X as unknown; characters that are no residue
// give kNoResidue. Upper case only.
uint8_t residue_of_letter(char letter);

struct Alignment {
  int64_t n_seq = 0, n_res = 0;
  std::vector<uint8_t> residues;    // [n_seq, n_res]
  std::vector<uint16_t> deletions;  // [n_seq, n_res]: residues inserted before this column (a3m only, else 0)
  std::vector<std::string> names;
};

enum class AlignmentFormat : uint8_t {
  detect,     // from the content; the ending .a3m of the name decides where the content fits two formats
  a3m,        // lower case = insertion, counted and removed; '.' ignored
  fasta,      // aligned: all rows equally long, lower case as upper case, '-' and '.' gaps (a2m included)
  stockholm,  // one record; '-', '.', '_' and '~' gaps; markup lines ignored
  rows        // one sequence per line, no names
};

Alignment read_alignment(const std::filesystem::path& path, AlignmentFormat format = AlignmentFormat::detect);
// `data` may be gzipped; `name` stands for the file in messages.
Alignment parse_alignment(std::span<const char> data, const std::string& name,
                          AlignmentFormat format = AlignmentFormat::detect);

// Removes the columns in which the first row has a gap; residues removed from the other rows are added to the
// deletion count of the next kept column. This is how a Stockholm alignment becomes query-centred.
Alignment keep_query_columns(const Alignment& alignment);

}  // namespace reckon::data
