// Run files: nothing is lost, and what is no run file is refused by name.
#include "profiler/json.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "profiler/file.h"
#include "runtime/core/error.h"
#include "tests/profiler/network.h"

namespace reckon::testing {
namespace {

using namespace profiler;
namespace fs = std::filesystem;

struct RunFile : ::testing::Test {
  void SetUp() override {
    folder = fs::path(::testing::TempDir()) /
             (std::string("run_file_") + ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder);
    fs::create_directories(folder);
    record = train_network({.policy = autograd::CheckpointPolicy::selective, .precision = DType::bf16}).record;
  }
  void TearDown() override { fs::remove_all(folder); }
  std::string message_of(std::string_view text) const {
    try {
      run_from_json(text, "some/run.json");
    } catch (const Error& e) {
      return e.what();
    }
    return "(accepted)";
  }
  // The error after changing the document at a pointer.
  std::string message_after(const std::string& pointer, const nlohmann::json& value) const {
    auto j = nlohmann::ordered_json::parse(to_json(record));
    j.at(nlohmann::ordered_json::json_pointer(pointer)) = value;
    return message_of(j.dump());
  }
  fs::path folder;
  RunRecord record;
};

TEST_F(RunFile, KeepsEverythingToTheLastBit) {
  record.losses = {
      0.1,   1.0 / 3, -0.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
      5e-324};
  record.config.set("path with \"quotes\" and \n", "value \xc3\xa4");
  record.books.series[1].peak_bytes = INT64_MAX;
  save_run(folder.string(), record);
  for (const fs::path& p : {folder, folder / "run.json"}) {
    const RunRecord back = load_run(p.string());
    EXPECT_EQ(back.books, record.books);
    EXPECT_EQ(back.config, record.config);
    EXPECT_EQ(back.process, record.process);
    ASSERT_EQ(back.losses.size(), record.losses.size());
    for (size_t i = 0; i < back.losses.size(); ++i)
      EXPECT_EQ(std::bit_cast<uint64_t>(back.losses[i]), std::bit_cast<uint64_t>(record.losses[i])) << i;
    EXPECT_EQ(to_json(back), to_json(record));
  }
}

TEST_F(RunFile, ReplacesTheOldFileWholeAndLeavesNoTemporary) {
  save_run((folder / "a.json").string(), record);
  record.config.set("seed", "2");
  save_run((folder / "a.json").string(), record);
  EXPECT_EQ(load_run((folder / "a.json").string()).config.get("seed"), "2");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), fs::directory_iterator()), 1);
}

TEST_F(RunFile, WritingWhereNothingCanBeWrittenNamesThePath) {
  try {
    save_run((folder / "absent" / "a.json").string(), record);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("absent"), std::string::npos);
  }
}

TEST_F(RunFile, MissingFilesAndEmptyFoldersAreNamed) {
  EXPECT_THROW(load_run((folder / "no.json").string()), Error);
  EXPECT_THROW(load_run(folder.string()), Error);
  EXPECT_THROW(load_run(std::string(5000, 'x')), Error);
}

TEST_F(RunFile, ForeignAndBrokenTextIsRefusedWithAReason) {
  EXPECT_NE(message_of("").find("is not JSON"), std::string::npos);
  EXPECT_NE(message_of("weights").find("is not JSON"), std::string::npos);
  EXPECT_NE(message_of("{\"a\": 1}").find("no 'reckon_schema'"), std::string::npos);
  EXPECT_NE(message_of("[1, 2]").find("no 'reckon_schema'"), std::string::npos);
  EXPECT_NE(message_of("{\"reckon_schema\": 7}").find("schema 7"), std::string::npos);
  EXPECT_NE(message_of("{\"reckon_schema\": 2}").find("has no 'config'"), std::string::npos);
  EXPECT_NE(message_of(R"({"reckon_schema": "1"})").find("expected an integer"), std::string::npos);
  const std::string deep =
      R"({"reckon_schema": 2, "config": )" + std::string(200000, '[') + std::string(200000, ']') + "}";
  EXPECT_NE(message_of(deep).find("expected an object"), std::string::npos);
}

TEST_F(RunFile, CutOffAtAnyPlaceIsRefused) {
  const std::string text = to_json(record);
  for (size_t n = 0; n + 2 < text.size(); n += text.size() / 97)
    EXPECT_NE(message_of(text.substr(0, n)), "(accepted)") << n;
}

TEST_F(RunFile, WrongFieldsAreNamedByPath) {
  EXPECT_EQ(message_of(to_json(record)), "(accepted)");
  EXPECT_NE(message_after("/books/highest/n_events", "many")
                .find("'books.highest.n_events' is \"many\", expected an integer"),
            std::string::npos);
  EXPECT_NE(message_after("/books/last/max_reserved", -1).find("at least 0"), std::string::npos);
  EXPECT_NE(message_after("/books/last/max_reserved", 1.5).find("an integer"), std::string::npos);
  EXPECT_NE(message_after("/books/last/max_reserved", UINT64_MAX).find("2^63"), std::string::npos);
  EXPECT_NE(message_after("/books/highest/cells/rows/0/3", "lunch")
                .find("'books.highest.cells.rows[0][3]' is \"lunch\""),
            std::string::npos);
  EXPECT_NE(message_after("/books/highest/cells/rows/0", {1, 2}).find("a row of 8 values"), std::string::npos);
  EXPECT_NE(message_after("/books/highest/cells/columns/5", "bites").find("cells.columns"), std::string::npos);
  EXPECT_NE(message_after("/config/device", 3).find("'config.device' is 3, expected a string"),
            std::string::npos);
}

TEST_F(RunFile, BooksThatDoNotCloseAreRefused) {
  const int64_t peak = record.books.highest->peak_bytes;
  EXPECT_NE(message_after("/books/highest/peak_bytes", peak + 1)
                .find("expected the sum of its cells, " + std::to_string(peak)),
            std::string::npos);
  EXPECT_NE(message_after("/books/last/saved_bytes", 1).find("the sum of its cells"), std::string::npos);
}

TEST_F(RunFile, SumsThatLeave64BitsAreRefused) {
  for (const char* cell : {"cells/rows/0/5", "cells/rows/0/6", "work/rows/0/8"})
    EXPECT_NE(message_after(std::string("/books/highest/") + cell, INT64_MAX).find("whose sum is below 2^63"),
              std::string::npos)
        << cell;
}

}  // namespace
}  // namespace reckon::testing
