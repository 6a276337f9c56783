#include "models/data/token_file.h"

#include <cstring>
#include <map>
#include <numeric>

#include "tests/data/support.h"

namespace reckon::data {
namespace {

using test::error_of;
using test::says;
using test::TemporaryDirectory;

Tokenizer toy() {
  return Tokenizer::from_json(std::filesystem::path(RECKON_TEST_DIR) / "reference/qwen2/tokenizer_toy.json");
}

std::vector<int64_t> all_ids(const TokenFile& file) {
  std::vector<int64_t> ids(file.n_tokens());
  file.read(0, ids);
  return ids;
}

// Random bytes, so that a few of them in a row tell where they stand.
std::string numbered_text(size_t n) {
  std::string text;
  for (size_t i = 0; i < n; ++i) text += static_cast<char>(Philox{1, 1}(i)[0]);
  return text;
}

TokenFile build(const TemporaryDirectory& dir, const std::string& text,
                const Tokenizer& t = Tokenizer::bytes()) {
  test::write_file(dir / "in.txt", text);
  build_token_file(dir / "in.txt", dir / "out.tokens", t);
  return TokenFile::open(dir / "out.tokens");
}

TEST(TokenFile, HoldsTheIdsOfOneTextAndTheTokenizersIdentity) {
  TemporaryDirectory dir;
  const Tokenizer t = toy();
  const TokenFile file = build(dir, "the tensor engine", t);
  EXPECT_EQ(all_ids(file), (std::vector<int64_t>{452, 351, 444}));
  EXPECT_EQ(file.vocab_size(), 470);
  EXPECT_EQ(file.bytes_per_token(), 2);
  EXPECT_EQ(file.tokenizer_fingerprint(), t.fingerprint());
  EXPECT_TRUE(t.name().ends_with(file.tokenizer_name()));
  EXPECT_TRUE(file.tokenizer_name().ends_with("tokenizer_toy.json"));
  EXPECT_EQ(dir.n_entries(), 2u) << "input and output, nothing else";
}

TEST(TokenFile, JoinsADirectorySortedByNameWithEndOfTextBetween) {
  TemporaryDirectory dir;
  test::write_file(dir / "in/b.txt", "B");
  test::write_file(dir / "in/a.txt", "A");
  test::write_file(dir / "in/c.txt", "C");
  test::write_file(dir / "in/.hidden", "H");
  test::write_file(dir / "in/sub/d.txt", "D");
  build_token_file(dir / "in", dir / "out.tokens", Tokenizer::bytes());
  EXPECT_EQ(all_ids(TokenFile::open(dir / "out.tokens")), (std::vector<int64_t>{'A', 256, 'B', 256, 'C'}));
}

TEST(TokenFile, UsesFourBytesWhenIdsDoNotFitInTwo) {
  TemporaryDirectory dir;
  // A vocabulary of 256 bytes and one far added token: 4 * 257 + 65536 ids are allowed.
  std::string json =
      test::read_file(std::filesystem::path(RECKON_TEST_DIR) / "reference/qwen2/tokenizer_toy.json");
  const size_t at = json.find("469");
  ASSERT_NE(at, std::string::npos);
  json.replace(at, 3, "66000");
  const Tokenizer t = Tokenizer::from_json_text(json, "wide");
  const TokenFile file = build(dir, "the<|im_end|>", t);
  EXPECT_EQ(file.bytes_per_token(), 4);
  EXPECT_EQ(all_ids(file), (std::vector<int64_t>{452, 66000}));
}

TEST(TokenFile, IsReusedUntilInputOrTokenizerChange) {
  TemporaryDirectory dir;
  test::write_file(dir / "in.txt", "some text");
  const auto rebuilt = [&](const Tokenizer& t) {
    bool flag = false;
    TokenFile::open_or_build(dir / "in.txt", dir / "cache.tokens", t, &flag);
    return flag;
  };
  EXPECT_TRUE(rebuilt(Tokenizer::bytes()));
  EXPECT_FALSE(rebuilt(Tokenizer::bytes()));
  EXPECT_TRUE(rebuilt(toy()));
  EXPECT_FALSE(rebuilt(toy()));
  test::write_file(dir / "in.txt", "some other text");
  EXPECT_TRUE(rebuilt(toy()));
  test::write_file(dir / "cache.tokens", std::string(200, 'x'));
  EXPECT_TRUE(says(error_of([&] { rebuilt(toy()); }), {"cache.tokens", "not a token file"}));
  EXPECT_EQ(test::read_file(dir / "cache.tokens"), std::string(200, 'x')) << "a foreign file was replaced";
}

TEST(TokenFile, RefusesMissingEmptyBinaryAndUnencodableInput) {
  TemporaryDirectory dir;
  const auto refusal = [&](const std::string& input, const Tokenizer& t) {
    return error_of([&] { build_token_file(dir / input, dir / "out", t); });
  };
  EXPECT_TRUE(says(refusal("none.txt", toy()), {"none.txt", "no such file"}));
  test::write_file(dir / "empty.txt", "");
  EXPECT_TRUE(says(refusal("empty.txt", Tokenizer::bytes()), {"empty.txt is empty"}));
  std::filesystem::create_directory(dir / "folder");
  EXPECT_TRUE(says(refusal("folder", toy()), {"folder", "no text files"}));
  test::write_file(dir / "binary", std::string("ab\0cd", 5));
  EXPECT_TRUE(says(refusal("binary", toy()), {"binary file", "offset 2", "byte tokenizer"}));
  test::write_file(dir / "latin1.txt", "caf\xe9!");
  EXPECT_TRUE(says(refusal("latin1.txt", toy()), {"latin1.txt", "not UTF-8", "offset 3"}));
  EXPECT_FALSE(std::filesystem::exists(dir / "out"));
  EXPECT_EQ(refusal("binary", Tokenizer::bytes()), "(no Error was thrown)");
}

TEST(TokenFile, RefusesDamageAndForeignIds) {
  TemporaryDirectory dir;
  build(dir, "hello world");
  const std::string valid = test::read_file(dir / "out.tokens");
  const auto parse = [](std::string_view bytes) {
    return TokenFile::parse(std::as_bytes(std::span(bytes.data(), bytes.size())), "t");
  };
  EXPECT_TRUE(says(error_of([&] { parse(valid.substr(0, 50)); }), {"50 byte(s)"}));
  EXPECT_TRUE(
      says(error_of([&] { parse(valid.substr(0, valid.size() - 1)); }), {"expected 11 tokens", "truncated"}));
  std::string other = valid;
  other[20] = static_cast<char>(other[20] ^ 1);
  EXPECT_TRUE(says(error_of([&] { parse(other); }), {"damaged header"}));
  other = valid;
  other[8] = 9;
  EXPECT_TRUE(says(error_of([&] { parse(other); }), {"version 9, expected 1"}));
  other = valid;
  other[120 + 2 * 3 + 1] = '\x7f';
  EXPECT_TRUE(says(error_of([&] { all_ids(parse(other)); }), {"token 3 is id", "vocabulary's 257"}));
  EXPECT_TRUE(says(error_of([&] {
                     std::vector<int64_t> out(5);
                     parse(valid).read(9, out);
                   }),
                   {"tokens 9 to 14", "has 11"}));
  EXPECT_GT(test::mutate(valid, 5000, 7, [&](std::string_view bytes) { all_ids(parse(bytes)); }), 3000);
}

TEST(TokenBatches, LabelsAreTheFollowingTokensOfOneContiguousWindow) {
  TemporaryDirectory dir;
  const TokenFile file = build(dir, numbered_text(5000));
  const auto ids = all_ids(file);
  const TokenBatches batches(file, 3, 16, 42, TokenPart::all);
  for (uint64_t step = 0; step < 20; ++step) {
    const TokenBatch b = batches.at(step);
    ASSERT_EQ(b.ids.size(), 48u);
    for (size_t row = 0; row < 3; ++row) {
      std::vector<int64_t> window(b.ids.begin() + 16 * static_cast<long>(row),
                                  b.ids.begin() + 16 * static_cast<long>(row + 1));
      window.push_back(b.labels[16 * row + 15]);
      for (size_t t = 0; t < 16; ++t) ASSERT_EQ(b.labels[16 * row + t], window[t + 1]);
      ASSERT_NE(std::search(ids.begin(), ids.end(), window.begin(), window.end()), ids.end());
    }
  }
}

TEST(TokenBatches, AreAPureFunctionOfSeedAndStepWhateverTheOrder) {
  TemporaryDirectory dir;
  const TokenFile file = build(dir, numbered_text(5000));
  const TokenBatches a(file, 4, 8, 7), b(file, 4, 8, 7), c(file, 4, 8, 8), wider(file, 6, 8, 7);
  const auto fifth = a.at(5).ids;
  for (uint64_t step = 9; step > 5; --step) b.at(step);
  EXPECT_EQ(b.at(5).ids, fifth);
  EXPECT_NE(a.at(6).ids, fifth);
  EXPECT_NE(c.at(5).ids, fifth);
  auto rows = wider.at(5).ids;
  rows.resize(fifth.size());
  EXPECT_EQ(rows, fifth) << "rows must not depend on the batch size";
}

TEST(TokenBatches, TrainingNeverReadsTheValidationTail) {
  TemporaryDirectory dir;
  std::string text(900, 't');
  text += std::string(100, 'v');
  const TokenFile file = build(dir, text);
  const TokenBatches train(file, 8, 10, 1);
  for (uint64_t step = 0; step < 400; ++step) {
    const auto b = train.at(step);
    for (int64_t id : b.ids) ASSERT_EQ(id, 't');
    for (int64_t id : b.labels) ASSERT_EQ(id, 't');
  }
  const TokenBatches validation(file, 2, 9, 1, TokenPart::validation);
  for (uint64_t step = 0; step < 20; ++step)
    for (int64_t id : validation.at(step).ids) ASSERT_EQ(id, 'v');
}

TEST(TokenBatches, TrainingStartsReachBothEndsOfTheirPart) {
  TemporaryDirectory dir;
  const TokenFile file = build(dir, numbered_text(30));  // train part 27 tokens: starts 0..22 for 4 + 1
  const auto ids = all_ids(file);
  const TokenBatches train(file, 1, 4, 3);
  std::map<int64_t, int> starts;
  for (uint64_t step = 0; step < 2000; ++step) {
    const auto b = train.at(step);
    starts[std::search(ids.begin(), ids.end(), b.ids.begin(), b.ids.end()) - ids.begin()]++;
  }
  EXPECT_EQ(starts.size(), 23u);
  EXPECT_EQ(starts.begin()->first, 0);
  EXPECT_EQ(starts.rbegin()->first, 22);
}

TEST(TokenBatches, OneValidationPassCoversEveryWindowOnce) {
  TemporaryDirectory dir;
  const TokenFile file = build(dir, numbered_text(1000));  // 100 tokens: 11 windows of 9, labels up to 99
  const auto ids = all_ids(file);
  const TokenBatches validation(file, 4, 9, 5, TokenPart::validation);
  EXPECT_EQ(validation.n_steps_of_one_pass(), 3u);
  std::vector<int64_t> seen;
  for (uint64_t step = 0; step < 3; ++step) {
    const auto b = validation.at(step);
    seen.insert(seen.end(), b.ids.begin(), b.ids.end());
  }
  EXPECT_TRUE(std::equal(seen.begin(), seen.begin() + 99, ids.begin() + 900));
  EXPECT_TRUE(std::equal(seen.begin() + 99, seen.end(), ids.begin() + 900)) << "the twelfth window wraps round";
  EXPECT_EQ(validation.at(11).ids, validation.at(0).ids) << "44 windows later";
}

TEST(TokenBatches, ASequenceLongerThanTheDataSaysWhatWouldFit) {
  TemporaryDirectory dir;
  const TokenFile file = build(dir, numbered_text(812));
  EXPECT_TRUE(says(error_of([&] { TokenBatches(file, 1, 4096, 0, TokenPart::all); }),
                   {"sequence of 4096 needs 4097 tokens, file has 812: use a longer text or --seq <= 811"}));
  EXPECT_NO_THROW(TokenBatches(file, 1, 811, 0, TokenPart::all).at(3));
  EXPECT_TRUE(says(error_of([&] { TokenBatches(file, 1, 731, 0); }),
                   {"needs 732", "file has 812", "training part (first 90 %) has 731", "--seq <= 730"}));
  EXPECT_NO_THROW(TokenBatches(file, 1, 730, 0).at(3));
  EXPECT_TRUE(says(error_of([&] { TokenBatches(file, 1, 81, 0, TokenPart::validation); }), {"--seq <= 80"}));
  EXPECT_TRUE(says(error_of([&] { TokenBatches(file, 0, 8, 0); }), {"batch 0"}));
  EXPECT_TRUE(says(error_of([&] { TokenBatches(file, 1, -8, 0); }), {"-8 tokens"}));
}

}  // namespace
}  // namespace reckon::data
