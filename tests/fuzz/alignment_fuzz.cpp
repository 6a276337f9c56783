// Alignments, in the format that is detected and in each that can be asked for. The first byte chooses a file
// name, since its ending decides where the content fits two formats.
#include <algorithm>

#include "models/data/alignment.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace reckon;
  using data::AlignmentFormat;
  if (size == 0) return 0;
  const std::string name = data[0] % 2 ? "input.a3m" : "input";
  const std::span<const char> text(reinterpret_cast<const char*>(data) + 1, size - 1);
  for (const auto format : {AlignmentFormat::detect, AlignmentFormat::a3m, AlignmentFormat::fasta,
                            AlignmentFormat::stockholm, AlignmentFormat::rows})
    fuzz::accepts([&] {
      const data::Alignment a = data::parse_alignment(text, name, format);
      const auto cells = static_cast<size_t>(a.n_seq * a.n_res);
      fuzz::require(a.n_seq > 0 && a.n_res > 0, "there are rows and columns");
      fuzz::require(a.residues.size() == cells && a.deletions.size() == cells, "every cell is filled");
      fuzz::require(a.names.size() == static_cast<size_t>(a.n_seq),
                    "every row has a name, if only an empty one");
      fuzz::require(std::ranges::all_of(a.residues, [](uint8_t r) { return r <= data::kGapResidue; }),
                    "residues are letters or gaps");
      const data::Alignment kept = data::keep_query_columns(a);
      fuzz::require(
          kept.n_res <= a.n_res && kept.residues.size() == static_cast<size_t>(kept.n_seq * kept.n_res),
          "query columns are some of the columns");
    });
  return 0;
}
