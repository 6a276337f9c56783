#include "models/data/tokenizer.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "models/data/byte_pair.h"
#include "models/data/split_regex.h"
#include "tests/data/support.h"

namespace reckon::data {
namespace {

using nlohmann::json;
using test::error_of;
using test::says;

using Ids = std::vector<int64_t>;

const std::filesystem::path kReference = std::filesystem::path(RECKON_TEST_DIR) / "reference/qwen2";

json toy() { return json::parse(test::read_file(kReference / "tokenizer_toy.json")); }
json cases() { return json::parse(test::read_file(kReference / "tokenizer_toy_cases.json"))["cases"]; }
Tokenizer load(const json& j) { return Tokenizer::from_json_text(j.dump(), "toy"); }
std::string refusal(const json& j) {
  return error_of([&] { load(j); });
}

// 256 bytes in alphabet order with id = byte, then the given merges; split pattern
// keeps everything in one piece.
json tiny(const std::vector<std::pair<std::string, std::string>>& merges,
          const std::string& pattern = "[\\s\\S]+") {
  json vocab;
  for (int b = 0; b < 256; ++b) vocab[printable_alphabet()[static_cast<size_t>(b)]] = b;
  json list = json::array();
  for (const auto& [l, r] : merges) {
    if (!vocab.contains(l + r)) vocab[l + r] = static_cast<int>(vocab.size());
    list.push_back({l, r});
  }
  return {
      {"added_tokens", json::array()},
      {"normalizer", nullptr},
      {"pre_tokenizer",
       {{"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}},
          {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}}},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", list}}}};
}

json added(const std::string& content, int id, const std::string& flag = "") {
  json token = {{"id", id}, {"content", content}, {"special", true}, {"normalized", false}};
  if (!flag.empty()) token[flag] = true;
  return token;
}

TEST(ByteTokenizer, RoundTripsEveryByteAndEndsTextsWith256) {
  const Tokenizer t = Tokenizer::bytes();
  std::string all;
  for (int b = 0; b < 256; ++b) all += static_cast<char>(b);
  const Ids ids = t.encode(all);
  for (int64_t b = 0; b < 256; ++b) EXPECT_EQ(ids[static_cast<size_t>(b)], b);
  EXPECT_EQ(t.decode(ids), all);
  EXPECT_EQ(t.vocab_size(), 257);
  EXPECT_EQ(t.end_of_text(), 256);
  EXPECT_EQ(t.decode(Ids{104, 256, 105}), "hi");
  EXPECT_TRUE(says(error_of([&] { t.decode(Ids{1, 257}); }), {"id 257 at position 1", "below 257"}));
  EXPECT_TRUE(says(error_of([&] { t.decode(Ids{-1}); }), {"id -1"}));
}

TEST(BytePair, AlphabetIsABijectionThatKeepsPrintableBytes) {
  std::set<std::string> seen;
  for (size_t b = 0; b < 256; ++b) {
    const std::string& letter = printable_alphabet()[b];
    EXPECT_TRUE(seen.insert(letter).second);
    EXPECT_EQ(bytes_of_printable(letter), std::string(1, static_cast<char>(b)));
  }
  EXPECT_EQ(printable_alphabet()['A'], "A");
  EXPECT_EQ(printable_alphabet()[' '], "\u0120");
  EXPECT_EQ(printable_alphabet()['\n'], "\u010a");
  EXPECT_EQ(bytes_of_printable("a b"), std::nullopt);
  EXPECT_EQ(bytes_of_printable("\u4f60"), std::nullopt);
  EXPECT_EQ(bytes_of_printable("\u0144"), std::nullopt);
}

TEST(QwenTokenizer, ReproducesTheReferenceIdsAndTexts) {
  const Tokenizer t = Tokenizer::from_json(kReference / "tokenizer_toy.json");
  ASSERT_GE(cases().size(), 20u);
  for (const json& c : cases()) {
    const auto expected = c["ids"].get<Ids>();
    EXPECT_EQ(t.encode(c["text"].get<std::string>()), expected) << c["text"];
    EXPECT_EQ(t.encode(c["text"].get<std::string>()), expected) << c["text"] << " from the cache";
    EXPECT_EQ(t.decode(expected), c["decoded"].get<std::string>());
  }
  EXPECT_EQ(t.vocab_size(), 470);
  EXPECT_EQ(t.end_of_text(), 467);
}

TEST(QwenTokenizer, MergesAsPairsGiveTheSameIds) {
  json j = toy();
  for (json& merge : j["model"]["merges"]) {
    const std::string text = merge;
    merge = {text.substr(0, text.find(' ')), text.substr(text.find(' ') + 1)};
  }
  const Tokenizer t = load(j);
  for (const json& c : cases())
    EXPECT_EQ(t.encode(c["text"].get<std::string>()), c["ids"].get<Ids>()) << c["text"];
}

TEST(QwenTokenizer, VocabAndMergesFilesGiveTheSameIds) {
  test::TemporaryDirectory dir;
  const json j = toy();
  std::string merges = "#version: 0.2\n";
  for (const json& merge : j["model"]["merges"]) merges += merge.get<std::string>() + "\n";
  test::write_file(dir / "vocab.json", j["model"]["vocab"].dump());
  test::write_file(dir / "merges.txt", merges);
  EXPECT_FALSE(Tokenizer::from_directory(dir.path()).has_end_of_text());
  EXPECT_TRUE(
      says(error_of([&] { Tokenizer::from_directory(dir.path()).end_of_text(); }), {"no <|endoftext|>"}));
  json config;
  for (const json& token : j["added_tokens"])
    config["added_tokens_decoder"][std::to_string(token["id"].get<int>())] = token;
  test::write_file(dir / "tokenizer_config.json", config.dump());
  const Tokenizer t = Tokenizer::from_directory(dir.path());
  for (const json& c : cases())
    EXPECT_EQ(t.encode(c["text"].get<std::string>()), c["ids"].get<Ids>()) << c["text"];
  EXPECT_EQ(t.end_of_text(), 467);
  test::write_file(dir / "tokenizer.json", j.dump());
  EXPECT_EQ(Tokenizer::from_directory(dir.path()).fingerprint(),
            Tokenizer::from_json_text(j.dump(), "x").fingerprint());
  EXPECT_NE(t.fingerprint(), Tokenizer::from_directory(dir.path()).fingerprint());
  EXPECT_TRUE(
      says(error_of([] { Tokenizer::from_directory("/nonexistent"); }), {"neither tokenizer.json nor"}));
}

TEST(QwenTokenizer, NormalisesToNfc) {
  const Tokenizer t = load(toy());
  EXPECT_EQ(t.encode("e\u0301"), t.encode("\u00e9"));
  EXPECT_EQ(t.decode(t.encode("e\u0301")), "\u00e9");
  json plain = toy();
  plain["normalizer"] = nullptr;
  EXPECT_NE(load(plain).encode("e\u0301"), t.encode("\u00e9"));
}

TEST(QwenTokenizer, RefusesInvalidUtf8WithItsOffset) {
  const Tokenizer t = load(toy());
  const std::pair<std::string, std::string> bad[] = {
      {"ab\xff", "0xff at offset 2"},   {"\xc3", "offset 0"},
      {"x\xed\xa0\x80", "offset 1"},    {"\xc0\xaf", "offset 0"},
      {"\xf4\x90\x80\x80", "offset 0"}, {"\u00e9\xe2\x82", "offset 2"},
      {"\xf0\x80\x80\x80", "offset 0"}, {"a\x80", "offset 1"}};
  for (const auto& [text, where] : bad)
    EXPECT_TRUE(says(error_of([&] { t.encode(text); }), {"not UTF-8", where}));
  EXPECT_EQ(t.decode(t.encode("\U0001F642\u20ac\U0010FFFF")), "\U0001F642\u20ac\U0010FFFF");
}

TEST(QwenTokenizer, SpecialTokensAreCutFirstAndCanBeSkippedInDecoding) {
  const Tokenizer t = load(toy());
  const Ids ids = t.encode("<|im_start|>the<|endoftext|>");
  EXPECT_EQ(ids, (Ids{468, 452, 467}));
  EXPECT_EQ(t.decode(ids), "<|im_start|>the<|endoftext|>");
  EXPECT_EQ(t.decode(ids, true), "the");
  EXPECT_EQ(t.encode("<|im_star"), t.encode("<|im_star"));
  EXPECT_GT(t.encode("<|im_star").size(), 1u);
}

TEST(QwenTokenizer, LongestAddedTokenWinsAndFlagsAreRespected) {
  json j = tiny({});
  j["added_tokens"] = {added("<a>", 300), added("<a><b>", 301), added("<l>", 302, "lstrip"),
                       added("<r>", 303, "rstrip"), added("word", 304, "single_word")};
  const Tokenizer t = load(j);
  EXPECT_EQ(t.encode("<a><b><a>"), (Ids{301, 300}));
  EXPECT_EQ(t.encode("x \u3000<l> y"), (Ids{'x', 302, ' ', 'y'}));
  EXPECT_EQ(t.encode("x <r> \u3000y"), (Ids{'x', ' ', 303, 'y'}));
  EXPECT_EQ(t.encode("<a> <l>"), (Ids{300, 302}));
  EXPECT_EQ(t.encode("a word."), (Ids{'a', ' ', 304, '.'}));
  EXPECT_EQ(t.encode("words").size(), 5u);
  EXPECT_EQ(t.encode("_word").size(), 5u);
  EXPECT_EQ(t.vocab_size(), 305);
  EXPECT_TRUE(says(error_of([&] { t.decode(Ids{280}); }), {"id 280", "has no token"}));
}

TEST(QwenTokenizer, NormalizedAddedTokensMatchNormalisedText) {
  json j = tiny({});
  j["normalizer"] = {{"type", "NFC"}};
  j["added_tokens"] = {added("<\u00e9>", 300), added("[\u00e9]", 301)};
  j["added_tokens"][1]["normalized"] = true;
  const Tokenizer t = load(j);
  EXPECT_EQ(t.encode("[e\u0301]"), Ids{301});
  EXPECT_NE(t.encode("<e\u0301>"), Ids{300});
  EXPECT_EQ(t.encode("<\u00e9>"), Ids{300});
}

TEST(QwenTokenizer, LowestRankMergesFirstAndLeftmostAmongEquals) {
  // "ab" has the lower rank, so "abc" never becomes a + bc.
  const Tokenizer t = load(tiny({{"a", "b"}, {"b", "c"}, {"bc", "d"}, {"a", "a"}}));
  EXPECT_EQ(t.encode("abc"), (Ids{256, 'c'}));
  EXPECT_EQ(t.encode("xbcd"), (Ids{'x', 258}));
  EXPECT_EQ(t.encode("aaa"), (Ids{259, 'a'}));
  EXPECT_EQ(t.encode("aaab"), (Ids{259, 256}));
}

// The definition, spelled out: each round replaces every occurrence of the best pair from the left.
Ids by_definition(std::string text, const std::vector<std::pair<std::string, std::string>>& merges,
                  const json& vocab) {
  std::vector<std::string> parts;
  for (char c : text) parts.emplace_back(1, c);
  for (const auto& [l, r] : merges)
    for (size_t i = 0; i + 1 < parts.size(); ++i)
      if (parts[i] == l && parts[i + 1] == r) {
        parts[i] += r;
        parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      }
  Ids ids;
  for (const auto& p : parts) ids.push_back(vocab[p].get<int64_t>());
  return ids;
}

TEST(QwenTokenizer, QueueMergingAgreesWithTheDefinitionOnRandomTexts) {
  const std::vector<std::pair<std::string, std::string>> merges = {{"a", "b"},  {"b", "a"},   {"ab", "a"},
                                                                   {"a", "a"},  {"ab", "ab"}, {"aba", "b"},
                                                                   {"c", "ab"}, {"aa", "aa"}, {"cab", "c"}};
  const json j = tiny(merges);
  const Tokenizer t = load(j);
  const Philox rng{5, 0};
  for (uint64_t i = 0; i < 3000; ++i) {
    std::string text;
    for (uint64_t k = 0; k < 1 + i % 40; ++k) text += "abc"[rng(i * 64 + k)[0] % 3];
    ASSERT_EQ(t.encode(text), by_definition(text, merges, j["model"]["vocab"])) << text;
  }
}

TEST(QwenTokenizer, ALongPieceIsNotQuadratic) {
  const Tokenizer t = load(tiny({{"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}}));
  const auto start = std::chrono::steady_clock::now();
  const Ids ids = t.encode(std::string(1 << 20, 'a'));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_EQ(ids.size(), (1u << 20) / 8);
  EXPECT_LT(seconds, 30.0);  // about a second with sanitizers; a search of the list per merge takes hours
}

TEST(QwenTokenizer, WholePieceFirstTakesATokenWithoutItsMerges) {
  json j = tiny({{"a", "b"}});
  j["model"]["vocab"]["xyz"] = 257;
  EXPECT_EQ(load(j).encode("xyz"), (Ids{'x', 'y', 'z'}));
  j["model"]["ignore_merges"] = true;
  EXPECT_EQ(load(j).encode("xyz"), Ids{257});
  EXPECT_EQ(load(j).encode("xyzab"), (Ids{'x', 'y', 'z', 256}));
}

TEST(QwenTokenizer, Gpt2StyleByteLevelUsesItsOwnPattern) {
  json j = tiny({{"1", "2"}, {"\u0120", "a"}});
  j["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  EXPECT_EQ(load(j).encode("12 a"), (Ids{256, 257}));
  EXPECT_EQ(load(toy()).encode("12").size(), 2u) << "Qwen's pattern cuts between digits";
}

TEST(SplitRegex, PiecesAreMatchesAndWhatLiesBetween) {
  const auto pieces = [](const std::string& pattern, std::string_view text) {
    std::vector<std::string> out;
    SplitRegex(pattern, "t").for_each_piece(text, [&](std::string_view p) { out.emplace_back(p); });
    return out;
  };
  using Pieces = std::vector<std::string>;
  EXPECT_EQ(pieces("\\d+", "ab12cd3"), (Pieces{"ab", "12", "cd", "3"}));
  EXPECT_EQ(pieces("(?=[A-Z])", "aBcD"), (Pieces{"a", "Bc", "D"}));
  EXPECT_EQ(pieces("(a)(b)(c)", "xabcx"), (Pieces{"x", "abc", "x"}));
  EXPECT_EQ(pieces("x*", "\u00e9\u00e9x"), (Pieces{"\u00e9", "\u00e9", "x"}));
  EXPECT_EQ(pieces("\\s+", "a\u3000b\u0085c\u180ed"), (Pieces{"a", "\u3000", "b", "\u0085", "c\u180ed"}));
  EXPECT_EQ(pieces("[^\\s]+", "a b"), (Pieces{"a", " ", "b"}));
  EXPECT_TRUE(says(error_of([&] { pieces("a(", "x"); }), {"'a('", "offset 2"}));
  EXPECT_TRUE(says(error_of([&] { pieces("(a+)+$", std::string(60, 'a') + "b"); }), {"failed", "limit"}));
}

TEST(QwenTokenizer, RefusesWhatItDoesNotImplement) {
  const auto with = [](const char* pointer, const json& value) {
    json j = toy();
    j[json::json_pointer(pointer)] = value;
    return refusal(j);
  };
  EXPECT_TRUE(says(with("/model/type", "Unigram"), {"toy", "model 'Unigram'", "expected BPE"}));
  EXPECT_TRUE(says(with("/model/dropout", 0.1), {"dropout"}));
  EXPECT_TRUE(says(with("/model/byte_fallback", true), {"byte_fallback"}));
  EXPECT_TRUE(says(with("/model/end_of_word_suffix", "</w>"), {"end_of_word_suffix"}));
  EXPECT_TRUE(says(with("/normalizer/type", "NFKC"), {"normalizer 'NFKC'"}));
  EXPECT_TRUE(says(with("/pre_tokenizer/pretokenizers/0/behavior", "Removed"), {"'Removed'"}));
  EXPECT_TRUE(says(with("/pre_tokenizer/pretokenizers/0/invert", true), {"inverted"}));
  EXPECT_TRUE(says(with("/pre_tokenizer/pretokenizers/0/type", "Digits"), {"pre-tokenizer 'Digits'"}));
  EXPECT_TRUE(says(with("/pre_tokenizer/pretokenizers/1/add_prefix_space", true), {"add_prefix_space"}));
  EXPECT_TRUE(says(with("/pre_tokenizer", nullptr), {"pre_tokenizer is null"}));
  EXPECT_TRUE(
      says(with("/post_processor/type", "TemplateProcessing"), {"post_processor 'TemplateProcessing'"}));
  EXPECT_TRUE(says(with("/decoder/type", "WordPiece"), {"decoder 'WordPiece'"}));
  EXPECT_TRUE(says(with("/truncation", json::object()), {"truncation"}));
}

TEST(QwenTokenizer, RefusesDamagedVocabulariesAndMerges) {
  const auto with = [](const char* pointer, const json& value) {
    json j = toy();
    j[json::json_pointer(pointer)] = value;
    return refusal(j);
  };
  EXPECT_TRUE(says(with("/model/merges/0", "ab"), {"merge 0", "one space"}));
  EXPECT_TRUE(says(with("/model/merges/0", "a b c"), {"merge 0", "one space"}));
  EXPECT_TRUE(says(with("/model/merges/0", {"a"}), {"merge 0", "neither"}));
  EXPECT_TRUE(says(with("/model/merges/3", "q zz"), {"merge 3", "'zz'", "not in the vocabulary"}));
  EXPECT_TRUE(says(with("/model/merges/1", toy()["model"]["merges"][0]), {"merge 1", "repeats merge 0"}));
  EXPECT_TRUE(says(with("/model/vocab/a", -1), {"'a'", "'-1'"}));
  EXPECT_TRUE(says(with("/model/vocab/a", 1.5), {"'a'", "'1.5'"}));
  EXPECT_TRUE(says(with("/model/vocab/a", 2147483647), {"'a'", "expected ids below"}));
  EXPECT_TRUE(says(with("/model/vocab/a", 18446744073709551615ull), {"'a'", "2^31"}));
  EXPECT_TRUE(says(with("/model/vocab/a", 5), {"two tokens have id 5"}));
  EXPECT_TRUE(says(with("/added_tokens/0/id", 5), {"disagrees with the vocabulary"}));
  EXPECT_TRUE(says(with("/added_tokens/0/content", ""), {"no content"}));
  EXPECT_TRUE(says(with("/added_tokens/1/id", 467), {"listed twice"}));
  json j = toy();
  j["model"]["vocab"].erase("a");
  EXPECT_TRUE(says(refusal(j), {"no token for byte 0x61"}));
  EXPECT_TRUE(says(error_of([] { Tokenizer::from_json_text("{", "t"); }), {"t: not valid JSON"}));
  EXPECT_TRUE(says(error_of([] { Tokenizer::from_json_text("[]", "t"); }), {"expected a tokenizer.json"}));
  EXPECT_TRUE(says(error_of([] { Tokenizer::from_json_text(R"({"model":{"a":1,"a":2}})", "t"); }),
                   {"duplicate JSON key"}));
  EXPECT_TRUE(
      says(error_of([] { Tokenizer::from_json_text(std::string(100000, '['), "t"); }), {"deeper than 32"}));
}

TEST(QwenTokenizer, EncodesTheSameFromSeveralThreads) {
  const Tokenizer t = load(toy());
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  const json all = cases();
  for (size_t n = 0; n < wrong.size(); ++n)
    threads.emplace_back([&, n] {
      for (int round = 0; round < 50; ++round)
        for (const json& c : all) wrong[n] += t.encode(c["text"].get<std::string>()) != c["ids"].get<Ids>();
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(QwenTokenizer, DamagedFilesOnlyEverGiveErrors) {
  // Short file of the same structure, so that damage reaches every part and not only the vocabulary.
  json j = toy();
  const Tokenizer whole = load(j);
  const auto use = [](std::string_view text) {
    const Tokenizer t = Tokenizer::from_json_text(text, "damaged");
    const Ids ids = t.encode("It's 12  <|im_start|>caf\u00e9\n");
    t.decode(ids);
  };
  EXPECT_GT(test::mutate(j.dump(), 1500, 3, use), 500);
  json structure = tiny({{"a", "b"}});
  structure["added_tokens"] = {added("<a>", 300)};
  std::string shell = structure.dump();
  EXPECT_GT(test::mutate(shell, 1500, 4, use), 500);
  const std::string vocab = j["model"]["vocab"].dump(), merges = "#version\n\u0120 t\n\u0120t h\n";
  const auto use_merges = [&](std::string_view text) {
    Tokenizer::from_vocab_and_merges(vocab, text, "", "damaged").encode("the 12");
  };
  EXPECT_GT(test::mutate(merges, 500, 5, use_merges), 100);
}

TEST(QwenTokenizer, ArbitraryTextRoundTripsOrIsRefused) {
  const Tokenizer t = load(toy());
  int refused = test::mutate("It's <|im_start|> caf\u00e9 \u4f60\u597d\n\n 12,5 \U0001F642", 5000, 6,
                             [&](std::string_view text) {
                               const std::string once = t.decode(t.encode(text));
                               ASSERT_EQ(t.decode(t.encode(once)), once);
                             });
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace reckon::data
