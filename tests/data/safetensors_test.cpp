#include "models/data/safetensors.h"

#include <signal.h>
#include <sys/resource.h>

#include <cstring>
#include <numeric>

#include "tests/data/support.h"

namespace reckon::data {
namespace {

using test::error_of;
using test::says;
using test::TemporaryDirectory;

std::string with_header(const std::string& header, const std::string& data) {
  const uint64_t n = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &n, 8);
  return file + header + data;
}

SafetensorsFile parse(std::string_view file) {
  return SafetensorsFile::parse(std::as_bytes(std::span(file.data(), file.size())), "t.safetensors");
}

std::string refusal(const std::string& header, const std::string& data = "") {
  const std::string file = with_header(header, data);
  return error_of([&] { parse(file); });
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets +
         "}";
}

template <class T>
std::span<const std::byte> raw(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

TEST(Safetensors, ReadsShapesBytesMetadataAndFileOrder) {
  const std::string file =
      with_header("{" + entry("late", "U8", "[2]", "[8,10]") + ",\"__metadata__\":{\"k\":\"v\"}," +
                      entry("early", "F32", "[1,2]", "[0,8]") + "}  ",
                  std::string("\0\0\x80\x3f\0\0\0\x40\x07\x09", 10));
  const auto parsed = parse(file);
  EXPECT_EQ(parsed.names(), (std::vector<std::string>{"early", "late"}));
  EXPECT_EQ(parsed.metadata(), (std::map<std::string, std::string>{{"k", "v"}}));
  const TensorView& early = parsed.tensor("early");
  EXPECT_EQ(early.dtype, StoredType::F32);
  EXPECT_EQ(early.shape, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(early.n_elements(), 2);
  float values[2];
  ASSERT_EQ(early.bytes.size(), sizeof values);
  std::memcpy(values, early.bytes.data(), sizeof values);
  EXPECT_EQ(values[0], 1.0f);
  EXPECT_EQ(values[1], 2.0f);
  EXPECT_EQ(parsed.tensor("late").bytes[1], std::byte{9});
}

TEST(Safetensors, AcceptsScalarsEmptyTensorsAndNoTensors) {
  const std::string scalar =
      with_header("{" + entry("s", "F64", "[]", "[0,8]") + "," + entry("none", "F32", "[3,0]", "[8,8]") + "}",
                  std::string(8, 'x'));
  EXPECT_EQ(parse(scalar).tensor("s").n_elements(), 1);
  EXPECT_EQ(parse(scalar).tensor("none").n_elements(), 0);
  EXPECT_TRUE(parse(with_header("{}", "")).names().empty());
}

TEST(Safetensors, EveryDtypeKeepsItsElementSize) {
  const std::pair<const char*, size_t> sizes[] = {
      {"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8},     {"I32", 4},     {"I16", 2}, {"I8", 1},
      {"U64", 8}, {"U32", 4}, {"U16", 2}, {"U8", 1},   {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"BOOL", 1}};
  for (const auto& [name, size] : sizes) {
    const std::string n = std::to_string(3 * size);
    const std::string file =
        with_header("{" + entry("t", name, "[3]", "[0," + n + "]") + "}", std::string(3 * size, 'a'));
    const auto parsed = parse(file);
    EXPECT_EQ(name_of(parsed.tensor("t").dtype), name);
    EXPECT_EQ(parsed.tensor("t").n_elements(), 3) << name;
    const auto type = runtime_type(parsed.tensor("t").dtype);
    if (type) {
      EXPECT_EQ(reckon::size_of(*type), size) << name;
    }
  }
  EXPECT_FALSE(runtime_type(StoredType::I32).has_value());
  for (DType t :
       {DType::f32, DType::bf16, DType::f16, DType::f64, DType::i64, DType::u8, DType::f8e4m3, DType::f8e5m2})
    EXPECT_EQ(runtime_type(stored_type(t)), t);
}

TEST(Safetensors, RefusesLengthsBeyondTheFileOrTheLimit) {
  EXPECT_TRUE(says(error_of([] { parse("abc"); }), {"t.safetensors", "3 byte(s)", "truncated"}));
  std::string file = with_header("{}", "");
  file[0] = 9;
  EXPECT_TRUE(says(error_of([&] { parse(file); }), {"header length 9", "only 2 byte(s)"}));
  file[7] = '\x7f';
  EXPECT_TRUE(says(error_of([&] { parse(file); }), {"above the limit of 104857600"}));
}

TEST(Safetensors, RefusesHeadersThatAreNotTheExpectedJson) {
  EXPECT_TRUE(says(refusal(""), {"expected '{'"}));
  EXPECT_TRUE(says(refusal("[1]"), {"starts with '[1]'"}));
  EXPECT_TRUE(says(refusal("{\"a\":"), {"not valid JSON"}));
  EXPECT_TRUE(says(refusal("{} x"), {"not valid JSON"}));
  EXPECT_TRUE(says(refusal(std::string("{}\0{", 4)), {"zero byte at offset 2"}));
  EXPECT_TRUE(says(refusal("{\"a\":3}"), {"tensor 'a'", "a number"}));
  EXPECT_TRUE(says(refusal("{\"a\":[]}"), {"an array is not allowed"}));
  EXPECT_TRUE(
      says(refusal("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}"), {"tensor 'a' lacks its data_offsets"}));
  EXPECT_TRUE(says(refusal("{\"a\":{\"strides\":[1]}}"), {"unknown key 'strides'"}));
  EXPECT_TRUE(says(refusal("{\"a\":{\"shape\":[[1]]}}"), {"an array is not allowed under 'shape'"}));
  EXPECT_TRUE(says(refusal("{\"a\":{\"shape\":[null]}}"), {"null is not allowed"}));
  EXPECT_TRUE(says(refusal("{\"a\":{\"dtype\":{}}}"), {"an object is not allowed"}));
  EXPECT_TRUE(says(refusal("{\"a\xff\":1}"), {"not valid JSON"}));
  EXPECT_TRUE(says(refusal("{" + std::string(200000, '[')), {"not valid JSON"}));
  EXPECT_TRUE(says(refusal("{\"a\":" + std::string(200000, '[')), {"an array is not allowed"}));
}

TEST(Safetensors, RefusesDuplicateKeysAtEveryLevel) {
  const std::string a = entry("a", "U8", "[1]", "[0,1]");
  EXPECT_TRUE(says(refusal("{" + a + "," + a + "}", "x"), {"duplicate entry 'a'"}));
  EXPECT_TRUE(
      says(refusal("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"I8\"}}"), {"tensor 'a'", "duplicate key 'dtype'"}));
  EXPECT_TRUE(
      says(refusal("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}"), {"duplicate key 'k' in __metadata__"}));
  EXPECT_TRUE(says(refusal("{\"__metadata__\":{},\"__metadata__\":{}}"), {"duplicate entry '__metadata__'"}));
}

TEST(Safetensors, RefusesMetadataThatIsNotStrings) {
  EXPECT_TRUE(says(refusal("{\"__metadata__\":{\"k\":1}}"), {"__metadata__ holds a number under 'k'"}));
  EXPECT_TRUE(says(refusal("{\"__metadata__\":[]}"), {"__metadata__ holds an array"}));
  EXPECT_TRUE(says(refusal("{\"__metadata__\":\"x\"}"), {"__metadata__ holds a string"}));
}

TEST(Safetensors, RefusesRangesThatOverlapLeaveHolesOrLeaveTheFile) {
  const auto two = [](const std::string& first, const std::string& second) {
    return "{" + entry("a", "U8", "[4]", first) + "," + entry("b", "U8", "[4]", second) + "}";
  };
  EXPECT_TRUE(
      says(refusal(two("[0,4]", "[2,6]"), "12345678"), {"tensor 'b'", "byte 2, expected 4", "overlap"}));
  EXPECT_TRUE(says(refusal(two("[0,4]", "[5,9]"), "123456789"), {"tensor 'b'", "expected 4", "hole"}));
  EXPECT_TRUE(says(refusal(two("[1,5]", "[5,9]"), "123456789"), {"tensor 'a'", "expected 0", "hole"}));
  EXPECT_TRUE(says(refusal(two("[0,4]", "[4,8]"), "1234567"), {"tensor 'b'", "beyond the 7 data byte(s)"}));
  EXPECT_TRUE(says(refusal(two("[0,4]", "[4,8]"), "123456789"), {"1 byte(s) follow the last tensor"}));
  EXPECT_TRUE(says(refusal(two("[0,4]", "[8,4]"), "12345678"), {"run backwards"}));
  EXPECT_TRUE(says(refusal(two("[0,4]", "[4,-8]"), "12345678"), {"negative data offset -8"}));
  EXPECT_TRUE(says(refusal(two("[0,4]", "[4]"), "12345678"), {"1 number(s), expected 2"}));
  EXPECT_TRUE(says(refusal(two("[0,4]", "[4,8,9]"), "12345678"), {"more than 2 numbers"}));
  EXPECT_TRUE(says(refusal(two("[0,4]", "[4,18446744073709551615]"), "12345678"), {"end beyond"}));
  EXPECT_TRUE(says(refusal(two("[0,4]", "[4,18446744073709551616]"), "12345678"), {"not a whole number"}));
}

TEST(Safetensors, RefusesShapesThatDisagreeWithTheBytes) {
  const auto one = [](const std::string& dtype, const std::string& shape) {
    return refusal("{" + entry("w", dtype, shape, "[0,8]") + "}", "12345678");
  };
  EXPECT_TRUE(says(one("F32", "[3]"), {"tensor 'w'", "8 byte(s) of data, expected 12 for shape [3] of F32"}));
  EXPECT_TRUE(says(one("F32", "[-2]"), {"negative shape entry -2"}));
  EXPECT_TRUE(says(one("F32", "[2.0]"), {"'2.0' is not a whole number"}));
  EXPECT_TRUE(says(one("F32", "[18446744073709551615]"), {"larger than"}));
  EXPECT_TRUE(says(one("F32", "[4294967296,4294967296]"), {"more bytes than 2^63"}));
  // The product wraps round to exactly 8 bytes in 64-bit arithmetic.
  EXPECT_TRUE(says(one("F64", "[1,9223372036854775807,2,1]"), {"more bytes than 2^63"}));
  EXPECT_TRUE(says(one("F64", "[4294967297,4294967295,2305843009213693953]"), {"more bytes than 2^63"}));
  EXPECT_TRUE(says(one("F4", "[2]"), {"unknown dtype 'F4'", "BF16"}));
}

TEST(Safetensors, MissingTensorNamesTheNearestOne) {
  const std::string file = with_header("{" + entry("model.norm.weight", "U8", "[1]", "[0,1]") + "," +
                                           entry("model.norm.bias", "U8", "[1]", "[1,2]") + "}",
                                       "xy");
  const auto parsed = parse(file);
  EXPECT_FALSE(parsed.contains("norm.weight"));
  EXPECT_TRUE(
      says(error_of([&] { parsed.tensor("norm.weight"); }), {"'norm.weight'", "nearest: 'model.norm.weight'"}));
}

TEST(Safetensors, HostileNamesAreEscapedInMessages) {
  const std::string message = refusal("{\"a\\u001b[31m\\n\":{}}");
  EXPECT_TRUE(says(message, {"'a\\x1b[31m\\x0a'"}));
}

TEST(SafetensorsWriter, RoundTripsThroughAMappedFileAndAlignsEveryTensor) {
  TemporaryDirectory dir;
  const std::vector<uint8_t> bytes{1, 2, 3};
  const std::vector<double> doubles{1.5, -2.5};
  const std::vector<uint16_t> halves{7, 8, 9, 10, 11};
  SafetensorsWriter writer;
  writer.set_metadata("step", "12");
  writer.set_metadata("quote\"\n", "\xc3\xa9");
  writer.add("bytes", StoredType::U8, {3}, raw(bytes));
  writer.add("halves", StoredType::BF16, {5, 1}, raw(halves));
  writer.add("doubles", StoredType::F64, {2}, raw(doubles));
  writer.write(dir / "out.safetensors");
  const auto file = SafetensorsFile::open(dir / "out.safetensors");
  EXPECT_EQ(file.names(), (std::vector<std::string>{"doubles", "halves", "bytes"}));
  EXPECT_EQ(file.metadata().at("step"), "12");
  EXPECT_EQ(file.metadata().at("quote\"\n"), "\xc3\xa9");
  const auto same = [&](const std::string& name, std::span<const std::byte> expected) {
    const TensorView& t = file.tensor(name);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(t.bytes.data()) % size_of(t.dtype), 0u) << name;
    return std::ranges::equal(t.bytes, expected);
  };
  EXPECT_TRUE(same("bytes", raw(bytes)) && same("halves", raw(halves)) && same("doubles", raw(doubles)));
  EXPECT_EQ(file.tensor("halves").shape, (std::vector<int64_t>{5, 1}));
  EXPECT_EQ(dir.n_entries(), 1u) << "a temporary was left behind";
}

TEST(SafetensorsWriter, StreamsASourceInChunksWithoutHoldingIt) {
  TemporaryDirectory dir;
  constexpr int64_t kBytes = (9 << 20) + 5;
  uint64_t next = 0;
  size_t largest = 0;
  SafetensorsWriter writer;
  writer.add("w", StoredType::U8, {kBytes}, [&](uint64_t offset, std::span<std::byte> out) {
    EXPECT_EQ(offset, next);
    next += out.size();
    largest = std::max(largest, out.size());
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::byte>((offset + i) % 251);
  });
  writer.write(dir / "big.safetensors");
  EXPECT_EQ(next, static_cast<uint64_t>(kBytes));
  EXPECT_LE(largest, 4u << 20);
  const auto file = SafetensorsFile::open(dir / "big.safetensors");
  const auto bytes = file.tensor("w").bytes;
  for (size_t i = 0; i < bytes.size(); i += 4099) ASSERT_EQ(static_cast<size_t>(bytes[i]), i % 251);
}

TEST(SafetensorsWriter, AFailingSourceLeavesTheOldFileAndNoTemporary) {
  TemporaryDirectory dir;
  test::write_file(dir / "m.safetensors", "old content");
  SafetensorsWriter writer;
  writer.add("w", StoredType::U8, {10}, [](uint64_t, std::span<std::byte>) { raise_error("device lost"); });
  EXPECT_EQ(error_of([&] { writer.write(dir / "m.safetensors"); }), "device lost");
  EXPECT_EQ(test::read_file(dir / "m.safetensors"), "old content");
  EXPECT_EQ(dir.n_entries(), 1u);
}

TEST(SafetensorsWriter, AFullDiskLeavesTheOldFileAndNoTemporary) {
  TemporaryDirectory dir;
  test::write_file(dir / "m.safetensors", "old content");
  const std::vector<uint8_t> bytes(1 << 20, 1);
  SafetensorsWriter writer;
  writer.add("w", StoredType::U8, {1 << 20}, raw(bytes));
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 4096;  // writing beyond it fails in the middle, as on a full disk
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string message = error_of([&] { writer.write(dir / "m.safetensors"); });
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, handler);
  EXPECT_TRUE(says(message, {"cannot write", "m.safetensors.tmp", "File too large"}));
  EXPECT_EQ(test::read_file(dir / "m.safetensors"), "old content");
  EXPECT_EQ(dir.n_entries(), 1u);
}

TEST(SafetensorsWriter, RefusesWrongSizesDuplicatesAndUnwritablePlaces) {
  TemporaryDirectory dir;
  const std::vector<uint8_t> bytes(4, 1);
  SafetensorsWriter writer;
  writer.add("w", StoredType::U8, {4}, raw(bytes));
  EXPECT_TRUE(
      says(error_of([&] { writer.add("w", StoredType::U8, {4}, raw(bytes)); }), {"'w' was added before"}));
  EXPECT_TRUE(
      says(error_of([&] { writer.add("v", StoredType::F32, {4}, raw(bytes)); }), {"4 byte(s)", "expected 16"}));
  EXPECT_TRUE(says(error_of([&] { writer.add("v", StoredType::U8, {-4}, raw(bytes)); }), {"negative shape"}));
  EXPECT_TRUE(
      says(error_of([&] { writer.add("__metadata__", StoredType::U8, {4}, raw(bytes)); }), {"reserved"}));
  EXPECT_TRUE(says(error_of([&] { writer.add("\xff", StoredType::U8, {4}, raw(bytes)); }), {"UTF-8"}));
  EXPECT_TRUE(says(error_of([&] { writer.write(dir / "no/such/place"); }), {"cannot create", "No such file"}));
  EXPECT_TRUE(says(error_of([&] { writer.write(dir.path()); }), {"it is a directory"}));
}

TEST(Safetensors, OpenNamesMissingFilesAndDirectories) {
  TemporaryDirectory dir;
  EXPECT_TRUE(says(error_of([&] { SafetensorsFile::open(dir / "none"); }), {"none", "No such file"}));
  EXPECT_TRUE(
      says(error_of([&] { SafetensorsFile::open(dir.path()); }), {"a directory, expected a regular file"}));
  test::write_file(dir / "empty", "");
  EXPECT_TRUE(says(error_of([&] { SafetensorsFile::open(dir / "empty"); }), {"0 byte(s)"}));
}

void write_single(const std::filesystem::path& path, const std::string& tensor, uint8_t value) {
  const std::vector<uint8_t> bytes{value};
  SafetensorsWriter writer;
  writer.add(tensor, StoredType::U8, {1}, raw(bytes));
  writer.write(path);
}

TEST(ShardedSafetensors, FindsTensorsInASingleFileAndInShards) {
  TemporaryDirectory dir;
  write_single(dir / "s1.safetensors", "a", 1);
  write_single(dir / "s2.safetensors", "b", 2);
  test::write_file(dir / "model.safetensors.index.json",
                   R"({"metadata":{"total_size":2},"weight_map":{"b":"s2.safetensors","a":"s1.safetensors"}})");
  const auto sharded = read_sharded(dir.path());
  EXPECT_EQ(sharded.names().size(), 2u);
  EXPECT_EQ(sharded.tensor("a").bytes[0], std::byte{1});
  EXPECT_EQ(sharded.tensor("b").bytes[0], std::byte{2});
  EXPECT_TRUE(says(error_of([&] { sharded.tensor("c"); }), {"no tensor 'c'"}));
  write_single(dir / "model.safetensors", "only", 3);
  EXPECT_EQ(read_sharded(dir.path()).names(), std::vector<std::string>{"only"});
}

TEST(ShardedSafetensors, RefusesPathsOutsideTheDirectoryAndInconsistentIndices) {
  const auto refused = [](const std::string& shard) {
    return error_of([&] { parse_shard_index(R"({"weight_map":{"a":")" + shard + "\"}}", "index"); });
  };
  for (const char* shard : {"../x", "/etc/passwd", "a/b", "..", "", "a\\\\b", "x\\u0000y", ".hidden"})
    EXPECT_TRUE(says(refused(shard), {"refused", "tensor 'a'"})) << shard;
  EXPECT_TRUE(says(error_of([] { parse_shard_index("{}", "index"); }), {"weight_map object"}));
  EXPECT_TRUE(says(error_of([] { parse_shard_index(R"({"weight_map":{"a":1}})", "index"); }), {"is number"}));
  EXPECT_TRUE(says(error_of([] { parse_shard_index(R"({"weight_map":{"a":"x","a":"y"}})", "index"); }),
                   {"duplicate JSON key 'a'"}));
  TemporaryDirectory dir;
  EXPECT_TRUE(says(error_of([&] { read_sharded(dir.path()); }), {"neither model.safetensors"}));
  write_single(dir / "s1", "a", 1);
  test::write_file(dir / "model.safetensors.index.json", R"({"weight_map":{"z":"s1"}})");
  EXPECT_TRUE(says(error_of([&] { read_sharded(dir.path()); }), {"tensor 'z'", "not there"}));
  write_single(dir / "s2", "b", 1);
  test::write_file(dir / "model.safetensors.index.json", R"({"weight_map":{"a":"s1","b":"gone"}})");
  EXPECT_TRUE(says(error_of([&] { read_sharded(dir.path()); }), {"gone", "No such file"}));
}

TEST(Safetensors, DamagedFilesOnlyEverGiveErrors) {
  const std::string valid =
      with_header("{\"__metadata__\":{\"format\":\"pt\"}," + entry("a", "F32", "[2,2]", "[0,16]") + "," +
                      entry("b", "BF16", "[3]", "[16,22]") + "}",
                  std::string(22, 'z'));
  const int refused = test::mutate(valid, 20000, 1, [](std::string_view damaged) {
    const auto file = parse(damaged);
    for (const auto& name : file.names())
      for (std::byte b : file.tensor(name).bytes) ASSERT_LE(static_cast<int>(b), 255);
  });
  EXPECT_GT(refused, 10000);
  const std::string index = R"({"metadata":{"total_size":2},"weight_map":{"b":"s2.safetensors","a":"s1.st"}})";
  EXPECT_GT(test::mutate(index, 5000, 2, [](std::string_view text) { parse_shard_index(text, "index"); }),
            1000);
}

}  // namespace
}  // namespace reckon::data
