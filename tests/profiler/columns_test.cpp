// A table is a list of columns: one line adds a figure to the text, to JSON in both directions, to HTML and to
// the comparison of two runs.
#include "profiler/columns.h"

#include <gtest/gtest.h>

#include <sstream>

#include "profiler/book_columns.h"
#include "profiler/compare.h"
#include "profiler/html.h"
#include "profiler/text_table.h"
#include "runtime/core/error.h"

namespace reckon::testing {
namespace {

using namespace profiler;

struct Shelf {
  NameId owner{};
  Category category{};
  int64_t books = 0, pages = 0;
  friend bool operator==(const Shelf&, const Shelf&) = default;
};

Columns<Shelf> shelf_columns() {
  return {
      {"owner", &Shelf::owner, {.absent = "(nobody)"}},
      {"category", &Shelf::category},
      {"books", &Shelf::books, {.mark = Origin::counted, .compared = {{"owner"}}}},
      share(&Shelf::books),
  };
}

Shelf shelf(const char* owner, Category c, int64_t books, int64_t pages) {
  return {intern(owner), c, books, pages};
}

const std::vector<Shelf> kShelves{shelf("anna", Category::input, 3, 1024), shelf("", Category::cast, 1, 100),
                                  shelf("anna", Category::input, 4, 1000),
                                  shelf("bert", Category::saved, 2, 7)};

// Every output that follows from a list of columns.
struct Outputs {
  std::string text, html, comparison;
  Json json;
  std::vector<Shelf> read_back;
};

Outputs outputs(const Columns<Shelf>& columns, int top = 10) {
  Outputs o;
  TextTable t(columns, sum_of(columns, kShelves));
  t.top(merged(columns, kShelves, &Shelf::books), top, "shelves");
  t.rule();
  t.total("sum", sum_of(columns, kShelves));
  std::ostringstream text, comparison;
  text << t;
  o.text = text.str();
  o.html = to_html(t.table());
  o.json = table_json(columns, kShelves);
  o.read_back = read_table(columns, Field(o.json, "shelves", "a test"));
  const std::vector<Shelf> fewer(kShelves.begin() + 1, kShelves.end());
  for (const Breakdown& b : compare_rows(columns, kShelves, fewer))
    write_breakdown(comparison, b, "all", "fewer", top);
  o.comparison = comparison.str();
  return o;
}

TEST(Columns, OneLineAddsAFigureToEveryOutput) {
  Columns<Shelf> columns = shelf_columns();
  const Outputs before = outputs(columns);
  for (const std::string& out : {before.text, before.html, before.comparison, before.json.dump()})
    EXPECT_EQ(out.find("pages"), std::string::npos) << out;

  columns.add(
      {"pages", &Shelf::pages, {.format = Format::scaled, .mark = Origin::formula, .compared = {{"owner"}}}});

  const Outputs o = outputs(columns);
  EXPECT_EQ(o.text,
            "  owner     category  books [c]  share [d]  pages [f]\n"
            "  --------  --------  ---------  ---------  ---------\n"
            "  anna      input             7     70.0 %     2.02 k\n"
            "  bert      saved             2     20.0 %          7\n"
            "  (nobody)  cast              1     10.0 %        100\n"
            "  --------  --------  ---------  ---------  ---------\n"
            "  sum                        10    100.0 %     2.13 k\n");
  EXPECT_EQ(o.json["columns"], (Json{"owner", "category", "books", "pages"}));
  EXPECT_EQ(o.json["rows"][0], (Json{"anna", "input", 3, 1024}));
  EXPECT_EQ(o.read_back, kShelves) << "what is written is read";
  EXPECT_NE(o.html.find("<th>pages [f]</th>"), std::string::npos) << o.html;
  EXPECT_NE(o.html.find("<td>2.02 k</td>"), std::string::npos) << o.html;
  EXPECT_NE(o.comparison.find("pages by owner"), std::string::npos) << o.comparison;
  EXPECT_NE(o.comparison.find("anna       2.02 k     1.00 k         -1.02 k      0.494"), std::string::npos)
      << o.comparison;
}

TEST(Columns, TheRestIsOneLineAndEveryColumnStillAddsUp) {
  const Columns<Shelf> columns{{"owner", &Shelf::owner, {.absent = "(nobody)"}},
                               {"books", &Shelf::books, {.format = Format::plain}},
                               {"pages", &Shelf::pages, {.format = Format::plain}}};
  for (int top = 0; top < 4; ++top) {
    std::istringstream lines(outputs(columns, top).text);
    std::string line;
    std::getline(lines, line);
    std::getline(lines, line);
    int64_t books = 0, pages = 0, n_lines = 0;
    for (; std::getline(lines, line) && line[2] != '-'; ++n_lines) {
      const size_t last = line.rfind(' '), before = line.rfind(' ', line.find_last_not_of(' ', last));
      books += std::stoll(line.substr(before));
      pages += std::stoll(line.substr(last));
      EXPECT_EQ(line.find("other (") != std::string::npos, n_lines == top) << line;
    }
    EXPECT_EQ(n_lines, std::min(top + 1, 3));
    EXPECT_EQ(books, 10) << top;
    EXPECT_EQ(pages, 2131) << top;
  }
}

TEST(Columns, ADerivedColumnIsWrittenAndNotRead) {
  Columns<Shelf> columns = shelf_columns();
  columns.add({"pages", &Shelf::pages});
  columns.add({"pages_per_book", [](const Shelf& s) { return s.pages / s.books; }});
  const Outputs o = outputs(columns);
  EXPECT_EQ(o.json["rows"][3].back(), 3);
  EXPECT_EQ(o.read_back, kShelves);
  EXPECT_NE(o.text.find("pages per book"), std::string::npos) << o.text;
}

TEST(Columns, WrongCellsAreNamed) {
  const auto message = [](const char* pointer, const Json& value) {
    Json j = table_json(shelf_columns(), kShelves);
    j.at(Json::json_pointer(pointer)) = value;
    try {
      read_table(shelf_columns(), Field(j, "shelves", "some/run.json"));
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("(accepted)");
  };
  EXPECT_EQ(message("/rows/0/2", 5), "(accepted)");
  EXPECT_NE(message("/rows/1/2", -1).find("'shelves.rows[1][2]' is -1, expected an integer of at least 0"),
            std::string::npos);
  EXPECT_NE(message("/rows/1/1", "lunch").find("expected a known name"), std::string::npos);
  EXPECT_NE(message("/columns/0", "keeper").find("shelves.columns"), std::string::npos);
  EXPECT_NE(message("/rows/2", Json::array()).find("a row of 3 values"), std::string::npos);
}

// The ledger's own tables are such lists: a column added to a copy of one shows beside the others.
TEST(Columns, TheLedgersTablesTakeAColumn) {
  Columns<WorkCell> columns = TableOf<WorkCell>::columns;
  columns.add({"launches_per_call",
               [](const WorkCell& w) { return w.calls ? w.n_launches() / w.calls : 0; },
               {.mark = Origin::derived}});
  const std::vector<WorkCell> work{{.op = intern("matmul"), .calls = 2, .launches = {6, 0, 2, 0}}};
  std::ostringstream text;
  TextTable t(columns, work[0]);
  t.rows(work);
  text << t;
  EXPECT_NE(text.str().find("launches per call [d]"), std::string::npos) << text.str();
  EXPECT_EQ(text.str().find("library launches"), std::string::npos) << "a kind that never occurs has no column";
  const Json j = table_json(columns, work);
  EXPECT_EQ(j["columns"].back(), "launches_per_call");
  EXPECT_EQ(j["rows"][0].back(), 4);
  EXPECT_EQ(read_table(columns, Field(j, "work", "a test")), work);
}

}  // namespace
}  // namespace reckon::testing
