// Decoding: a key/value cache changes neither ids nor logits, its bytes are in the books, and sampling draws
// what the probabilities say.
#include "models/qwen/decoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>

#include "autograd/fusion.h"
#include "autograd/grad_mode.h"
#include "models/qwen/folder.h"
#include "ops/cast/cast.h"
#include "profiler/audit.h"
#include "tests/support/event_log.h"

namespace reckon::models {
namespace {

using reckon::testing::EventLog;
using reckon::testing::first_difference;

const std::vector<int64_t> kPrompt{3, 141, 59, 26, 53, 58, 97, 93};

struct Decoding : ::testing::TestWithParam<const char*> {
  Device device{DeviceKind::cpu, DeviceSpec::this_machine()};
  autograd::FusionScope fusions{autograd::FusionSet::parse(GetParam())};

  std::vector<float> last_logits(const Qwen& m, const std::vector<int64_t>& ids) {
    autograd::NoGrad no_grad;
    const auto n = static_cast<int64_t>(ids.size());
    const Tensor t =
        Tensor::from_host(device, {1, n}, DType::i64, ids.data(), ids.size() * 8, Category::input, "ids");
    const Tensor logits = ops::cast(ops::contiguous(m.logits(m.hidden(t)).sliced(1, n - 1, n)), DType::f32);
    return {logits.data<float>(), logits.data<float>() + logits.numel()};
  }
};

TEST_P(Decoding, FromTheCacheIsDecodingFromTheWholeText) {
  for (const char* preset : {"tiny", "tiny3"}) {
    const Qwen m(device, QwenConfig::preset(preset), 5);
    const DecodeResult r = decode(m, device, kPrompt, 1, {.max_new_tokens = 12});
    std::vector<int64_t> text = kPrompt;
    for (int64_t id : r.new_ids[0]) {
      const std::vector<float> logits = last_logits(m, text);
      ASSERT_EQ(std::max_element(logits.begin(), logits.end()) - logits.begin(), id)
          << preset << " at " << text.size();
      text.push_back(id);
    }
    EXPECT_EQ(r.new_ids[0].size(), 12u);
  }
}

TEST_P(Decoding, PiecesOfAPromptFillTheCacheLikeTheWhole) {
  autograd::NoGrad no_grad;
  const QwenConfig c = QwenConfig::preset("tiny");
  const Qwen m(device, c, 5);
  const auto hidden = [&](const std::vector<int64_t>& pieces) {
    KvCache cache(device, c, 1, 8, DType::f32);
    Tensor h;
    int64_t at = 0;
    for (int64_t n : pieces) {
      const Tensor ids = Tensor::from_host(device, {1, n}, DType::i64, kPrompt.data() + at,
                                           static_cast<size_t>(n) * 8, Category::input);
      h = m.hidden(ids, {}, {}, &cache);
      at += n;
      EXPECT_EQ(cache.length(), at);
    }
    const Tensor last = ops::contiguous(h.sliced(1, h.size(1) - 1, h.size(1)));
    return std::vector<float>(last.data<float>(), last.data<float>() + last.numel());
  };
  const std::vector<float> whole = hidden({8});
  for (const auto& pieces : {std::vector<int64_t>{3, 5}, {1, 1, 4, 2}}) {
    const std::vector<float> parts = hidden(pieces);
    for (size_t i = 0; i < whole.size(); ++i) ASSERT_NEAR(parts[i], whole[i], 2e-5f);
  }
}

TEST_P(Decoding, DryRunHasTheSameEventsAndTheBooksClose) {
  std::vector<Event> logs[2];
  for (int i = 0; i < 2; ++i) {
    Device d(i ? DeviceKind::cpu : DeviceKind::meta, DeviceSpec::this_machine());
    EventLog log;
    d.add_sink(&log);
    {
      const Qwen m(d, QwenConfig::preset("tiny3"), 5, DType::bf16);
      decode(m, d, kPrompt, 3,
             {.max_new_tokens = 6, .sampling = {.temperature = 1}, .cache_dtype = DType::bf16});
    }
    d.remove_sink(&log);
    logs[i] = log.events;
  }
  EXPECT_EQ(first_difference(logs[0], logs[1]), "");
  const profiler::BooksCheck books = profiler::check_books(logs[1]);
  EXPECT_TRUE(books.closed) << books.text;
}

INSTANTIATE_TEST_SUITE_P(Fusion, Decoding, ::testing::Values("none", "all"));

TEST(KvCache, BytesAreTheFormulaAndACategoryOfTheLedger) {
  for (const auto& [preset, dtype] : {std::pair{"qwen2.5-0.5b", DType::bf16}, {"qwen3-8b", DType::f32}}) {
    const QwenConfig c = QwenConfig::preset(preset);
    Device meta(DeviceKind::meta, DeviceSpec::this_machine());
    const KvCache cache(meta, c, 3, 100, dtype);
    const int64_t expected =
        2 * c.layers * 3 * c.kv_heads * c.head_dim * 100 * static_cast<int64_t>(size_of(dtype));
    EXPECT_EQ(KvCache::bytes_of(c, 3, 100, dtype), expected);
    EXPECT_EQ(static_cast<int64_t>(meta.arena().live_bytes(Category::kv_cache)), expected);
  }
  EXPECT_THROW(KvCache::bytes_of(QwenConfig::preset("qwen2.5-72b"), 1 << 20, int64_t{1} << 40, DType::f32),
               Error);
}

TEST(KvCache, RefusesMoreTokensThanItHoldsAndGradients) {
  Device device(DeviceKind::cpu, DeviceSpec::this_machine());
  const QwenConfig c = QwenConfig::preset("tiny");
  const Qwen m(device, c, 1);
  const Tensor ids = Tensor::from_host(device, {1, 8}, DType::i64, kPrompt.data(), 64, Category::input);
  KvCache cache(device, c, 1, 7, DType::f32);
  EXPECT_THROW(m.hidden(ids, {}, {}, &cache), Error);  // gradients are on
  autograd::NoGrad no_grad;
  EXPECT_THROW(m.hidden(ids, {}, {}, &cache), Error);  // 8 tokens
}

TEST(Decode, ASequenceEndsWithItsStopIdAndTheOthersGoOn) {
  Device device(DeviceKind::cpu, DeviceSpec::this_machine());
  const Qwen m(device, QwenConfig::preset("tiny"), 5);
  DecodeOptions o{.max_new_tokens = 40, .sampling = {.temperature = 3, .seed = 2}};
  const DecodeResult free = decode(m, device, kPrompt, 4, o);
  const int64_t stop = free.new_ids[0][4];
  o.stop_ids = {stop};
  const DecodeResult r = decode(m, device, kPrompt, 4, o);
  for (size_t b = 0; b < 4; ++b) {
    const auto& whole = free.new_ids[b];
    const auto end = std::find(whole.begin(), whole.end(), stop);
    const std::vector<int64_t> expected(whole.begin(), end == whole.end() ? end : end + 1);
    EXPECT_EQ(r.new_ids[b], expected) << b;
  }
  EXPECT_LE(r.new_ids[0].size(), 5u);
  EXPECT_NE(free.new_ids[0], free.new_ids[1]);  // rows draw on their own
}

TEST(Decode, RefusesWhatCannotBeContinued) {
  Device device(DeviceKind::cpu, DeviceSpec::this_machine());
  const Qwen m(device, QwenConfig::preset("tiny"), 5);
  EXPECT_THROW(decode(m, device, {}, 1, {}), Error);
  EXPECT_THROW(decode(m, device, std::vector<int64_t>{1 << 20}, 1, {}), Error);
  EXPECT_THROW(decode(m, device, kPrompt, 0, {}), Error);
  EXPECT_THROW(decode(m, device, kPrompt, 1, {.max_new_tokens = 0}), Error);
}

const std::vector<float> kLogits{0.5f, 2.0f, -1.0f, 2.0f, 1.0f, -std::numeric_limits<float>::infinity()};

std::map<int64_t, double> frequencies(const SamplingOptions& o, int n) {
  std::map<int64_t, double> f;
  for (int i = 0; i < n; ++i) f[choose_token(kLogits, o, sampling_draw(o.seed, 0, i))] += 1.0 / n;
  return f;
}

TEST(Sampling, GreedyTakesTheLargestAndTheFirstOfEquals) { EXPECT_EQ(choose_token(kLogits, {}, 0.9), 1); }

TEST(Sampling, FrequenciesMeetTheSoftmaxOfLogitsOverTemperature) {
  for (double temperature : {0.5, 1.0, 2.5}) {
    const auto f = frequencies({.temperature = temperature}, 40000);
    double sum = 0;
    for (float l : kLogits) sum += std::exp(l / temperature);
    for (size_t i = 0; i < kLogits.size(); ++i) {
      const double p = std::exp(kLogits[i] / temperature) / sum;
      EXPECT_NEAR(f.count(static_cast<int64_t>(i)) ? f.at(static_cast<int64_t>(i)) : 0, p,
                  4 * std::sqrt(p * (1 - p) / 40000) + 1e-9)
          << i;
    }
  }
}

TEST(Sampling, TopKAndTopPLeaveOnlyTheLikeliest) {
  const auto keys = [](const std::map<int64_t, double>& f) {
    std::vector<int64_t> k;
    for (const auto& [id, share] : f) k.push_back(id);
    return k;
  };
  using Ids = std::vector<int64_t>;
  EXPECT_EQ(keys(frequencies({.temperature = 1, .top_k = 1}, 2000)), Ids({1}));
  EXPECT_EQ(keys(frequencies({.temperature = 1, .top_k = 3}, 2000)), Ids({1, 3, 4}));
  // Probabilities in descending order: 0.368, 0.368, 0.135, 0.082, 0.018.
  EXPECT_EQ(keys(frequencies({.temperature = 1, .top_p = 0.3}, 2000)), Ids({1}));
  EXPECT_EQ(keys(frequencies({.temperature = 1, .top_p = 0.7}, 2000)), Ids({1, 3}));
  EXPECT_EQ(keys(frequencies({.temperature = 1, .top_p = 0.9}, 2000)), Ids({0, 1, 3, 4}));
  EXPECT_EQ(keys(frequencies({.temperature = 1, .top_k = 3, .top_p = 0.5}, 2000)), Ids({1, 3}));
}

TEST(Sampling, RefusesNonsense) {
  for (const SamplingOptions& o : {SamplingOptions{.temperature = -1},
                                   {.temperature = std::nan("")},
                                   {.temperature = 1, .top_k = -2},
                                   {.temperature = 1, .top_p = 0},
                                   {.temperature = 1, .top_p = 1.5},
                                   {.top_k = 5}})
    EXPECT_THROW(o.validate(), Error);
  EXPECT_THROW(choose_token(std::vector<float>{1, std::nanf("")}, {}, 0.5), Error);
  EXPECT_THROW(choose_token({}, {}, 0.5), Error);
}

TEST(StopIds, ComeFromTheGenerationConfigElseTheConfig) {
  const auto dir = std::filesystem::temp_directory_path() / ("reckon_stop_ids_" + std::to_string(getpid()));
  std::filesystem::create_directories(dir);
  EXPECT_TRUE(folder_stop_ids(dir).empty());
  std::ofstream(dir / "config.json") << R"({"eos_token_id": 7})";
  EXPECT_EQ(folder_stop_ids(dir), std::vector<int64_t>{7});
  std::ofstream(dir / "generation_config.json") << R"({"eos_token_id": [9, 11]})";
  EXPECT_EQ(folder_stop_ids(dir), (std::vector<int64_t>{9, 11}));
  std::ofstream(dir / "generation_config.json") << R"({"eos_token_id": "end"})";
  EXPECT_THROW(folder_stop_ids(dir), Error);
  std::filesystem::remove_all(dir);
}

TEST(FolderWeights, BecomeBf16ParametersRoundedToNearestEven) {
  Device device(DeviceKind::cpu, DeviceSpec::this_machine());
  const auto dir = std::filesystem::temp_directory_path() / ("reckon_bf16_folder_" + std::to_string(getpid()));
  const QwenConfig c = QwenConfig::preset("tiny");
  const Qwen original(device, c, 5);
  for (DType stored : {DType::f32, DType::bf16}) {
    export_folder(dir, original, {.dtype = stored, .tokenizer = "", .base = ""});
    const Qwen low(device, c, 6, DType::bf16);
    load_folder_weights(dir, low);
    for (const NamedParameter& p : original.parameters().all()) {
      const auto* got = low.parameters().find(p.name)->data<uint16_t>();
      for (int64_t i = 0; i < p.tensor.numel(); ++i)
        ASSERT_EQ(got[i], f32_to_bf16(p.tensor.data<float>()[i])) << p.name;
    }
  }
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace reckon::models
