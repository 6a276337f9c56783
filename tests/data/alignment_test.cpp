#include "models/data/alignment.h"

#include <zlib.h>

#include <set>

#include "tests/data/support.h"

namespace reckon::data {
namespace {

using test::error_of;
using test::says;
using Format = AlignmentFormat;

Alignment parse(const std::string& text, Format format = Format::detect, const std::string& name = "t.txt") {
  return parse_alignment(text, name, format);
}

std::string refusal(const std::string& text, Format format = Format::detect,
                    const std::string& name = "t.txt") {
  return error_of([&] { parse(text, format, name); });
}

std::string row(const Alignment& a, int64_t index) {
  std::string text;
  for (int64_t r = 0; r < a.n_res; ++r)
    text += kResidueLetters[a.residues[static_cast<size_t>(index * a.n_res + r)]];
  return text;
}

std::vector<int> deletions(const Alignment& a, int64_t index) {
  const auto first = a.deletions.begin() + index * a.n_res;
  return {first, first + a.n_res};
}

std::string gzip(const std::string& text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(text.size() + 1000, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

const std::string kStockholm =
    "# STOCKHOLM 1.0\n#=GF ID test\n#=GS q DE the query\n\nq      MK-V\nhit/1-9 .kLv\n#=GC RF  xxxx\n\n"
    "q      AG\nhit/1-9 ~_\n#=GR q SS HH\n//\n";

TEST(Alignment, LettersFollowTheAlphaFoldOrderAndAmbiguousOnesHaveARule) {
  const std::string order = "ARNDCQEGHILKMFPSTWYV";
  for (size_t i = 0; i < 20; ++i) EXPECT_EQ(residue_of_letter(order[i]), i);
  EXPECT_EQ(residue_of_letter('B'), residue_of_letter('D'));
  EXPECT_EQ(residue_of_letter('Z'), residue_of_letter('E'));
  EXPECT_EQ(residue_of_letter('U'), residue_of_letter('C'));
  for (char c : {'X', 'J', 'O'}) EXPECT_EQ(residue_of_letter(c), 20);
  EXPECT_EQ(residue_of_letter('-'), 21);
  for (char c : {'a', '*', '1', ' ', '\xc3'}) EXPECT_EQ(residue_of_letter(c), kNoResidue);
}

TEST(Alignment, A3mRemovesInsertionsAndCountsThemBeforeTheNextColumn) {
  const auto a = read_alignment(std::filesystem::path(RECKON_TEST_DIR) / "data/alignments/insertions.a3m");
  ASSERT_EQ(a.n_seq, 4);
  ASSERT_EQ(a.n_res, 8);
  EXPECT_EQ(a.names, (std::vector<std::string>{"query", "one", "two", "three"}));
  EXPECT_EQ(row(a, 0), "MKVLA-GH");
  EXPECT_EQ(row(a, 1), "MKVLAYGH");
  EXPECT_EQ(row(a, 2), "MK-LA-GH");
  EXPECT_EQ(row(a, 3), "--VLAXDE");
  EXPECT_EQ(deletions(a, 0), (std::vector<int>{0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(deletions(a, 1), (std::vector<int>{0, 0, 2, 0, 0, 0, 0, 1}));
  EXPECT_EQ(deletions(a, 2), (std::vector<int>{1, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(deletions(a, 3), (std::vector<int>{0, 0, 0, 0, 0, 0, 0, 1}));
}

TEST(Alignment, FastaKeepsLowerCaseColumnsAndBothGaps) {
  const auto a = parse(">q\nMKd\nV.\n\n>h text\r\nM--VL\r\n", Format::fasta);
  EXPECT_EQ(row(a, 0), "MKDV-");
  EXPECT_EQ(row(a, 1), "M--VL");
  EXPECT_EQ(deletions(a, 0), (std::vector<int>(5, 0)));
  EXPECT_EQ(a.names, (std::vector<std::string>{"q", "h"}));
}

TEST(Alignment, StockholmJoinsBlocksAndSkipsMarkup) {
  const auto a = parse(kStockholm);
  ASSERT_EQ(a.n_seq, 2);
  EXPECT_EQ(row(a, 0), "MK-VAG");
  EXPECT_EQ(row(a, 1), "-KLV--");
  EXPECT_EQ(a.names, (std::vector<std::string>{"q", "hit/1-9"}));
}

TEST(Alignment, OneRowPerLineNeedsNoNames) {
  const auto a = parse("MKV-\n\nmk-L\n");
  EXPECT_EQ(row(a, 0), "MKV-");
  EXPECT_EQ(row(a, 1), "MK-L");
  EXPECT_EQ(a.names, (std::vector<std::string>{"", ""}));
}

TEST(Alignment, DetectionTellsA3mFromAlignedFasta) {
  EXPECT_EQ(parse(">q\nMKV\n>h\nMaKV\n").n_res, 3) << "equal only without lower case: a3m";
  EXPECT_EQ(parse(">q\nMdV\n>h\nM-V\n").n_res, 3) << "equal only with lower case: aligned FASTA";
  EXPECT_EQ(parse(">q\nM..KV\n>h\nMacKV\n").n_res, 5) << "dots fill up the insertions: a2m, read as columns";
  EXPECT_EQ(parse(">q\nMKV\n>h\nM-V\n").n_res, 3);
  EXPECT_TRUE(says(refusal(">q\nMaKV\n>h\nMKcV\n"), {"lower-case", "both fit", "name the format"}));
  EXPECT_EQ(parse(">q\nMaKV\n>h\nMKcV\n", Format::a3m).n_res, 3);
  EXPECT_EQ(parse(">q\nMaKV\n>h\nMKcV\n", Format::fasta).n_res, 4);
  EXPECT_EQ(parse(">q\nMaKV\n>h\nMKcV\n", Format::detect, "x.a3m").n_res, 3);
  EXPECT_EQ(parse(">q\nMaKV\n>h\nMKcV\n", Format::detect, "x.a3m.gz").n_res, 3);
  EXPECT_EQ(parse("\n#A3M#\n\n>q\nMKV\n>h\nMKVa\n").n_res, 3);
}

TEST(Alignment, GzipIsRecognisedByItsContentInEveryFormat) {
  EXPECT_EQ(row(parse(gzip(kStockholm)), 0), "MK-VAG");
  EXPECT_EQ(row(parse(gzip(">q\nMKV\n>h\nMaKV\n")), 1), "MKV");
  EXPECT_EQ(parse(gzip("MKV\n") + gzip("M-V\n")).n_seq, 2) << "members follow each other";
  std::string big;
  for (int i = 0; i < 20000; ++i)
    big += ">s" + std::to_string(i) + "\n" + std::string(60, "ARND-"[i % 5]) + "\n";
  EXPECT_EQ(parse(gzip(big)).n_seq, 20000);
}

TEST(Alignment, TruncatedOrDamagedGzipIsNamed) {
  const std::string whole = gzip(kStockholm);
  for (size_t n = 2; n < whole.size(); ++n)
    ASSERT_TRUE(says(refusal(whole.substr(0, n)), {"truncated gzip"})) << n << " of " << whole.size();
  std::string damaged = whole;
  damaged[whole.size() / 2] = static_cast<char>(damaged[whole.size() / 2] ^ 0x55);
  EXPECT_TRUE(says(refusal(damaged), {"gzip"}));
  EXPECT_TRUE(says(refusal(whole + "rubbish"), {"damaged gzip"}));
  EXPECT_TRUE(says(refusal(gzip("")), {"empty after decompression"}));
}

TEST(Alignment, RaggedRowsAreNamedWithTheirLineAndLengths) {
  EXPECT_TRUE(
      says(refusal(">q\nMKVL\n>second\nMK-\n"), {"row 2 'second' (line 3)", "3 columns", "expected 4"}));
  EXPECT_TRUE(says(refusal(">q\nMKVL\n>second\nMKa\n", Format::a3m),
                   {"row 2 'second' (line 3)", "2 columns (insertions not counted)", "expected 4"}));
  EXPECT_TRUE(says(refusal("MKV\nMKVA\n"), {"row 2 (line 2)", "4 columns", "expected 3"}));
  EXPECT_TRUE(
      says(refusal("# STOCKHOLM 1.0\nq MKV\nh MK\n//\n"), {"row 2 'h' (line 3)", "2 columns", "expected 3"}));
}

TEST(Alignment, IllegalCharactersAreNamedWithRowAndColumn) {
  EXPECT_TRUE(says(refusal(">q\nMKV\n>h\nM*V\n"), {"row 2 'h' (line 3)", "character '*'", "column 2"}));
  EXPECT_TRUE(says(refusal(">q\nMKV\n>h\nMK1\n"), {"'1'", "column 3"}));
  EXPECT_TRUE(says(refusal("hello world\n"), {"row 1 (line 1)", "' '", "column 6"}));
  EXPECT_TRUE(says(refusal("MK\xc3\xa9\n"), {"'\\xc3'", "column 3"}));
  EXPECT_TRUE(says(refusal(">q\nM_V\n>h\nMKV\n"), {"'_'"})) << "an underscore is a gap in Stockholm only";
}

TEST(Alignment, OtherFilesAreNamedForWhatTheyAre) {
  EXPECT_TRUE(says(refusal(""), {"empty file"}));
  EXPECT_TRUE(says(refusal("\n \n# comment\n"), {"nothing but blank lines"}));
  EXPECT_TRUE(says(refusal(std::string("MKV\0\1", 5)), {"binary file", "0x00 at offset 3"}));
  EXPECT_TRUE(
      says(refusal(">q\nMKVLW\n>h\nMKV\n"), {"unaligned FASTA", "'q' has 5", "'h' has 3", "align them"}));
  EXPECT_TRUE(says(refusal("CLUSTAL W (1.8)\n\nq MKV\n"), {"Clustal"}));
  EXPECT_TRUE(says(refusal(">q\n>h\nMKV\n"), {"row 1 'q' (line 1) has no sequence"}));
  EXPECT_TRUE(says(refusal("MKV\n>q\nMKV\n", Format::fasta), {"line 1", "before the first '>'"}));
  EXPECT_TRUE(says(refusal(">q\nabc\n", Format::a3m), {"row 1", "no columns"}));
}

TEST(Alignment, StockholmRecordsAreCheckedForTheirEndAndNumber) {
  EXPECT_TRUE(says(refusal(kStockholm + kStockholm), {"more than one Stockholm record"}));
  EXPECT_TRUE(
      says(refusal("# STOCKHOLM 1.0\nq MKV\n# STOCKHOLM 1.0\nq MKV\n//\n"), {"more than one", "line 3"}));
  EXPECT_TRUE(says(refusal("# STOCKHOLM 1.0\nq MKV\n"), {"no '//'", "truncated"}));
  EXPECT_TRUE(
      says(refusal("# STOCKHOLM 1.0\nq MKV\nq MKV\n//\n"), {"line 3", "'q' stands twice in one block"}));
  EXPECT_TRUE(says(refusal("# STOCKHOLM 1.0\nMKV\n//\n"), {"line 2", "a name, blanks and a row"}));
  EXPECT_TRUE(says(refusal("# STOCKHOLM 1.0\n//\n"), {"no sequences"}));
  EXPECT_TRUE(says(refusal("q MKV\n//\n", Format::stockholm), {"expected '# STOCKHOLM 1.0'"}));
}

TEST(Alignment, QueryColumnsTurnTheOthersIntoDeletionCounts) {
  const auto a = keep_query_columns(parse("M--KV-\nMACK-A\n--CKVA\n"));
  EXPECT_EQ(a.n_res, 3);
  EXPECT_EQ(row(a, 0), "MKV");
  EXPECT_EQ(row(a, 1), "MK-");
  EXPECT_EQ(row(a, 2), "-KV");
  EXPECT_EQ(deletions(a, 1), (std::vector<int>{0, 2, 0}));
  EXPECT_EQ(deletions(a, 2), (std::vector<int>{0, 1, 0}));
  EXPECT_TRUE(says(error_of([] { keep_query_columns(parse("--\nMK\n")); }), {"gaps only"}));
}

TEST(Alignment, TheSameAlignmentReadsEquallyFromAllFormats) {
  const auto from = [](const std::string& text, Format f) { return parse(text, f).residues; };
  const auto rows = from("MK-V\nM-LV\n", Format::rows);
  EXPECT_EQ(from(">a\nMK-V\n>b\nM-LV\n", Format::fasta), rows);
  EXPECT_EQ(from(">a\nMK-V\n>b\nMaa-LV\n", Format::a3m), rows);
  EXPECT_EQ(from("# STOCKHOLM 1.0\na MK\nb M-\n\na -V\nb LV\n//\n", Format::stockholm), rows);
}

TEST(Alignment, ReadsTheDemoAlignmentOfThePackageFreecontact) {
  const std::filesystem::path demo = std::filesystem::path(RECKON_TEST_DIR) / ".." / "data" / "demo_1000.aln";
  ASSERT_TRUE(std::filesystem::exists(demo)) << "run scripts/install_dependencies.sh: it fetches the demo data";
  const auto rows = read_alignment(demo);
  EXPECT_EQ(rows.n_seq, 1000);
  EXPECT_EQ(rows.n_res, 126);
  EXPECT_EQ(row(rows, 0).substr(0, 8), "ADKELKFL");
  EXPECT_EQ(row(rows, 1).substr(0, 8), "-----TVL");
}

TEST(Alignment, DamagedFilesOnlyEverGiveErrors) {
  const auto use = [](std::string_view text) {
    for (Format f : {Format::detect, Format::a3m, Format::fasta, Format::stockholm, Format::rows}) {
      try {
        const auto a = parse_alignment(text, "damaged", f);
        ASSERT_EQ(a.residues.size(), static_cast<size_t>(a.n_seq * a.n_res));
        ASSERT_EQ(a.deletions.size(), a.residues.size());
        ASSERT_EQ(a.names.size(), static_cast<size_t>(a.n_seq));
        for (uint8_t r : a.residues) ASSERT_LE(r, kGapResidue);
      } catch (const Error&) {
        if (f == Format::rows) throw;
      }
    }
  };
  const std::string a3m = ">q\nMKVLA-GH\n>one\nMKacVLAYGwH\n>two\ndMK-LA-GHpq\n";
  uint64_t seed = 10;
  for (const std::string& valid :
       {a3m, kStockholm, std::string("MKV-\nMK-L\nAAAA\n"), gzip(a3m), gzip(kStockholm)})
    EXPECT_GT(test::mutate(valid, 4000, seed++, use), 1000);
}

}  // namespace
}  // namespace reckon::data
