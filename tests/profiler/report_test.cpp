// The printed tables add up, whatever is collapsed or cut.
#include "profiler/report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "profiler/table.h"
#include "tests/profiler/network.h"

namespace reckon::testing {
namespace {

using namespace profiler;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// The first number with thousands separators that stands alone at or after `from`.
int64_t number_in(const std::string& line, size_t from) {
  std::string digits;
  size_t i = line.find_first_of("0123456789", from);
  for (; i < line.size() && (std::isdigit(static_cast<unsigned char>(line[i])) || line[i] == ','); ++i)
    if (line[i] != ',') digits += line[i];
  return std::stoll(digits);
}

TEST(Report, ThePeakTableAddsUpAtEveryDepthAndCut) {
  const RunRecord run = train_network({.blocks = 12}).record;
  for (int depth : {0, 1, 2, 3, 9})
    for (int top : {0, 1, 5, 1000}) {
      std::ostringstream out;
      write_peak_table(out, *run.books.highest, {.module_depth = depth, .top = top});
      const auto lines = lines_of(out.str());
      const size_t column = lines[1].find("bytes [c]");
      int64_t sum = 0;
      size_t i = 3;
      for (; lines[i].find("---") == std::string::npos; ++i) {
        // Right-aligned under the head: numbers begin at most one column width before its end.
        size_t start = lines[i].rfind("  ", column + 8);
        sum += number_in(lines[i], start);
      }
      EXPECT_EQ(sum, run.books.highest->peak_bytes) << out.str();
      EXPECT_EQ(number_in(lines[i + 1], 5), run.books.highest->peak_bytes) << out.str();
      EXPECT_NE(out.str().find("equals the peak"), std::string::npos);
      EXPECT_EQ(out.str().find("DIFFERS"), std::string::npos);
    }
}

TEST(Report, NumberedSiblingsShareALineThatSaysHowMany) {
  EXPECT_EQ(collapse_path("layers.7.attention.q", 3), "layers.*.attention");
  EXPECT_EQ(collapse_path("layers.7.attention.q", 9), "layers.*.attention.q");
  EXPECT_EQ(collapse_path("fc1.w2", 2), "fc1.w2");
  EXPECT_EQ(collapse_path("", 3), "(top)");
  EXPECT_EQ(collapse_path("a.b", 0), "(top)");
  ModuleNames names(2);
  for (const char* path : {"layers.0.a", "layers.0.b", "layers.1.a", "layers.11", "head", "only.3.x"})
    names.add(intern(path));
  EXPECT_EQ(names.of(intern("layers.1.a")), "layers.* x3");
  EXPECT_EQ(names.of(intern("head")), "head");
  EXPECT_EQ(names.of(intern("only.3.x")), "only.3");
  const RunRecord run = train_network({.blocks = 12}).record;
  std::ostringstream out;
  write_peak_table(out, *run.books.highest, {.module_depth = 3});
  EXPECT_NE(out.str().find("model.layers.* x12"), std::string::npos) << out.str();
}

TEST(Report, EveryFigureColumnIsMarked) {
  const TrainedNetwork run = train_network({.kind = DeviceKind::cpu});
  std::ostringstream out;
  write_report(out, run.record);
  const auto lines = lines_of(out.str());
  for (size_t i = 1; i < lines.size(); ++i) {
    // The head of a table stands above its first rule.
    if (lines[i].find("  ---") != 0 || lines[i - 1].find('[') == std::string::npos) continue;
    for (const char* word : {"bytes ", "FLOP", "launches ", "time "})
      for (size_t at = lines[i - 1].find(word); at != std::string::npos; at = lines[i - 1].find(word, at + 1))
        EXPECT_NE(lines[i - 1].find('[', at), std::string::npos) << lines[i - 1];
  }
  EXPECT_NE(out.str().find("[m] measured"), std::string::npos);
  for (const std::string& line : lines)
    EXPECT_EQ(line.find_last_not_of(' ') + 1, line.size()) << "trailing blanks: '" << line << "'";
}

TEST(Report, TheTimelineReachesItsTopExactlyAtThePeak) {
  const RunRecord run = train_network({.policy = autograd::CheckpointPolicy::block, .blocks = 6}).record;
  for (int width : {20, 72, 1000}) {
    std::ostringstream out;
    write_timeline(out, *run.books.highest, {.width = width, .height = 10});
    const auto lines = lines_of(out.str());
    const std::string& top = lines[1];
    const size_t mark = lines[13].find('^');
    ASSERT_NE(mark, std::string::npos) << out.str();
    ASSERT_LT(mark, top.size()) << out.str();
    EXPECT_NE(top[mark], ' ') << out.str();
    // Every column stands on the ground: parameters are always live.
    EXPECT_EQ(lines[10].find(' ', lines[10].find('|')), std::string::npos) << out.str();
  }
  std::ostringstream empty;
  write_timeline(empty, StepBooks{});
  EXPECT_NE(empty.str().find("nothing was live"), std::string::npos);
}

TEST(Report, ReservedBytesCloseAgainstTheProcess) {
  const TrainedNetwork run = train_network({.kind = DeviceKind::cpu});
  const ProcessBooks& p = run.process;
  EXPECT_EQ(p.requested, run.at_end.requested);
  EXPECT_GT(p.resident, 0);
  EXPECT_LE(p.resident, p.reserved);
  EXPECT_EQ(p.rss_anon + p.rss_file + p.rss_shmem, p.rss);
  std::ostringstream out;
  write_process(out, p);
  EXPECT_NE(out.str().find("sum to VmRSS"), std::string::npos) << out.str();
  EXPECT_GE(p.observer, 1000 * static_cast<int64_t>(sizeof(Event))) << "every event is kept in this run";
  EXPECT_NE(out.str().find("the ledger's own logs"), std::string::npos);
  std::ostringstream unknown;
  write_process(unknown, ProcessBooks{});
  EXPECT_NE(unknown.str().find("unknown"), std::string::npos) << "what is not known must not be printed as 0";
}

TEST(Report, ARunWithoutStepsIsReportedFromItsInit) {
  RunRecord run = train_network({.steps = 0}).record;
  std::ostringstream out;
  write_report(out, run);
  EXPECT_NE(out.str().find("outside of steps"), std::string::npos);
}

}  // namespace
}  // namespace reckon::testing
