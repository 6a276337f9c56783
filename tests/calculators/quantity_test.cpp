// Sizes, rates, times and tables as people write them, good and bad.
#include "calculators/quantity.h"

#include <gtest/gtest.h>

#include "calculators/devices.h"
#include "calculators/table_file.h"
#include "runtime/core/error.h"

namespace reckon::calculators {
namespace {

TEST(Quantity, ASizeStandsForAllThatRoundToIt) {
  const WrittenBytes w = parse_written_bytes("4.50 GiB", "SIZE");
  EXPECT_EQ(w.bytes, Exact(4831838208));
  EXPECT_LE(w.low, Exact(4831838208 - 5'000'000));
  EXPECT_GE(w.high, Exact(4831838208 + 5'000'000));
  EXPECT_GT(w.low, Exact(4831838208 - 6'000'000));
  EXPECT_EQ(parse_written_bytes("512 B", "SIZE").bytes, Exact(512));
  EXPECT_EQ(parse_written_bytes("512 B", "SIZE").low, Exact(512)) << "bytes are exact";
  EXPECT_EQ(parse_written_bytes("526387249152", "SIZE").high, Exact(526387249152));
  EXPECT_EQ(parse_written_bytes("1.5GB", "SIZE").bytes, Exact(1500000000));
  EXPECT_EQ(parse_written_bytes("2,048 KiB", "SIZE").bytes, Exact(2097152));
}

TEST(Quantity, NonsenseIsRefusedWithTheTextAndTheForms) {
  for (const char* text : {"8 parsecs", "-4 GiB", "0 GiB", "0.5 B", "1e-300 GiB", "0", "NaN", "nan GiB", "inf",
                           "", " ", "GiB", "4.5.1 GiB", "1e400 GiB", "4 gib", "1e60 B", "4 GiB 3"}) {
    try {
      parse_written_bytes(text, "SIZE");
      ADD_FAILURE() << "'" << text << "' was taken";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(fmt::format("SIZE '{}'", text)), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find("GiB"), std::string::npos) << e.what();
    }
  }
  for (const char* text : {"", "-1e21", "0", "NaN", "1e21 parsecs", "1e400", "inf", "1 FLOPP"})
    EXPECT_THROW(parse_flops(text, "--budget"), Error) << text;
  for (const char* text : {"", "-1", "0", "NaN", "3 parsecs", "1e999 s"})
    EXPECT_THROW(parse_seconds(text, "--step-time"), Error) << text;
  for (const char* text : {"", "-1", "0", "1.5", "9223372036854775808", "4 s"})
    EXPECT_THROW(parse_whole(text, "--base"), Error) << text;
}

TEST(Quantity, RatesAndTimesTakeUnits) {
  EXPECT_DOUBLE_EQ(parse_flops("989 TFLOP/s", "x"), 989e12);
  EXPECT_DOUBLE_EQ(parse_flops("1e21", "x"), 1e21);
  EXPECT_DOUBLE_EQ(parse_flops("2.5 EFLOP", "x"), 2.5e18);
  EXPECT_DOUBLE_EQ(parse_seconds("380 ms", "x"), 0.38);
  EXPECT_DOUBLE_EQ(parse_seconds("1.5e1", "x"), 15);
  EXPECT_DOUBLE_EQ(parse_seconds("2 h", "x"), 7200);
  EXPECT_EQ(parse_whole("74,250", "x"), 74250);
  EXPECT_EQ(decimal_bytes(526387249152), "526.39 GB");
  EXPECT_EQ(binary_bytes(526387249152), "490.24 GiB");
  EXPECT_EQ(binary_bytes(17), "17 B");
}

TEST(Quantity, DevicesAreKnownByNameInAnyCase) {
  EXPECT_EQ(device_named("h200").dense_bf16, 989e12);
  EXPECT_EQ(device_named("H200").sparse_bf16, 1979e12);
  EXPECT_EQ(find_device("abacus"), nullptr);
  EXPECT_THROW(device_named("abacus"), Error);
}

TEST(TableFile, CsvAndJsonGiveTheSameRows) {
  const auto csv = parse_number_table("# comment\nsize, steps\n384, 74250 # here too\n640,1750\n", "a.csv",
                                      {"steps", "size"});
  const auto json = parse_number_table(R"([{"steps": 74250, "size": 384}, {"size": 640, "steps": 1750}])",
                                       "a.json", {"steps", "size"});
  EXPECT_EQ(csv.rows, json.rows);
  EXPECT_EQ(csv.rows, (std::vector<std::vector<double>>{{74250, 384}, {1750, 640}}));
  EXPECT_EQ(csv.places[1], "a.csv:4");
}

TEST(TableFile, DamagedTablesAreRefusedByPlace) {
  const auto message = [](const char* text) {
    try {
      parse_number_table(text, "t", {"steps", "size"});
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("taken");
  };
  EXPECT_NE(message("").find("no row"), std::string::npos);
  EXPECT_NE(message("steps,size\n").find("no row"), std::string::npos);
  EXPECT_NE(message("[]").find("no row"), std::string::npos);
  EXPECT_NE(message("steps,length\n1,2\n").find("'size'"), std::string::npos);
  EXPECT_NE(message("steps,size,more\n1,2,3\n").find("steps, size"), std::string::npos);
  EXPECT_NE(message("steps,size\n1\n").find("t:2"), std::string::npos);
  EXPECT_NE(message("steps,size\n1,\n").find("t:2"), std::string::npos);
  EXPECT_NE(message("steps,size\n1,NaN\n").find("size must be a number"), std::string::npos);
  EXPECT_NE(message("steps,size\n1,8 parsecs\n").find("8 parsecs"), std::string::npos);
  EXPECT_NE(message("[{\"steps\": 1}]").find("row 0"), std::string::npos);
  EXPECT_NE(message("[{\"steps\": 1, \"size\": \"x\"}]").find("size must be a number"), std::string::npos);
  EXPECT_NE(message("[1]").find("row 0"), std::string::npos);
  EXPECT_NE(message("{\"steps\": 1}").find("list"), std::string::npos);
  EXPECT_NE(message("[").find("not JSON"), std::string::npos);
  EXPECT_THROW(whole_number(1.5, 1, "steps", "t"), Error);
  EXPECT_THROW(whole_number(-1, 0, "count", "t"), Error);
  EXPECT_THROW(whole_number(1e300, 0, "count", "t"), Error);
}

}  // namespace
}  // namespace reckon::calculators
