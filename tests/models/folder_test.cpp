// Hugging Face folders: what is written is read back bit for bit, what does not fit is refused by name.
#include "models/qwen/folder.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "autograd/grad_mode.h"
#include "models/data/safetensors.h"
#include "models/train/trainer.h"

namespace reckon::models {
namespace {

namespace fs = std::filesystem;
using data::SafetensorsWriter;
using data::StoredType;

class Folder : public ::testing::Test {
 protected:
  fs::path dir = fs::temp_directory_path() / fmt::format("reckon_folder_test_{}", getpid());
  Device device{DeviceKind::cpu, DeviceSpec::this_machine()};

  Folder() { fs::create_directories(dir); }
  ~Folder() override { fs::remove_all(dir); }

  static QwenConfig config(const char* preset, bool tied) {
    QwenConfig c = QwenConfig::preset(preset);
    c.tied = tied;
    c.rope_theta = 12345;
    return c;
  }
  Qwen model(const QwenConfig& c, uint64_t seed = 3) { return Qwen(device, c, seed); }

  static std::vector<float> values(const Tensor& t) { return {t.data<float>(), t.data<float>() + t.numel()}; }

  double loss(const Qwen& m) {
    autograd::NoGrad no_grad;
    std::vector<int64_t> ids(2 * 9);
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int64_t>(i * 37 % 251);
    const Tensor t =
        Tensor::from_host(device, {2, 9}, DType::i64, ids.data(), ids.size() * 8, Category::input, "ids");
    return *read_scalar(m.loss(t, t));
  }

  void expect_equal(const Qwen& a, const Qwen& b) {
    ASSERT_EQ(a.parameters().all().size(), b.parameters().all().size());
    for (const NamedParameter& p : a.parameters().all())
      EXPECT_EQ(values(p.tensor), values(*b.parameters().find(p.name))) << p.name;
    EXPECT_EQ(loss(a), loss(b));
  }

  // The tensors of a model under Hugging Face's names, to be written in other ways.
  struct Stored {
    std::string name;
    std::vector<int64_t> shape;
    StoredType type = StoredType::F32;
    std::vector<std::byte> bytes;
  };
  static std::vector<Stored> stored(const Qwen& m, const std::string& prefix) {
    std::vector<Stored> out;
    for (const NamedParameter& p : m.parameters().all())
      out.push_back({(p.name.starts_with("lm_head") ? "" : prefix) + p.name,
                     {p.tensor.shape().begin(), p.tensor.shape().end()},
                     StoredType::F32,
                     {p.tensor.raw(), p.tensor.raw() + p.tensor.bytes()}});
    return out;
  }
  void write(const fs::path& file, const std::vector<Stored>& tensors) {
    SafetensorsWriter w;
    for (const Stored& t : tensors) w.add(t.name, t.type, t.shape, std::span<const std::byte>(t.bytes));
    w.write(file);
  }
  void write_config(const QwenConfig& c) { std::ofstream(dir / "config.json") << c.to_json(); }

  void expect_refused(const QwenConfig& c, const std::vector<Stored>& tensors,
                      std::initializer_list<const char*> parts) {
    write(dir / "model.safetensors", tensors);
    const Qwen m = model(c, 9);
    try {
      load_folder_weights(dir, m);
      FAIL() << "expected a message with " << *parts.begin();
    } catch (const Error& e) {
      for (const char* part : parts)
        EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << part << " in: " << e.what();
    }
  }
};

TEST_F(Folder, WhatIsExportedIsReadBackBitForBit) {
  for (const char* preset : {"tiny", "tiny3"})
    for (const bool tied : {true, false}) {
      const Qwen written = model(config(preset, tied));
      export_folder(dir, written, {});
      const QwenConfig c = read_folder_config(dir);
      EXPECT_EQ(c.n_parameters(), written.config().n_parameters());
      EXPECT_EQ(c.rope_theta, 12345);
      const Qwen read = model(c, 4);
      EXPECT_NE(loss(read), loss(written)) << "other initial weights must give another loss";
      load_folder_weights(dir, read);
      expect_equal(read, written);
    }
}

TEST_F(Folder, HalfPrecisionExportsHoldTheRoundedWeights) {
  const Qwen written = model(config("tiny", false));
  for (DType type : {DType::bf16, DType::f16}) {
    export_folder(dir, written, {.dtype = type});
    const Qwen read = model(read_folder_config(dir), 4);
    load_folder_weights(dir, read);
    for (const NamedParameter& p : written.parameters().all()) {
      std::vector<float> expected = values(p.tensor);
      for (float& v : expected)
        v = type == DType::bf16 ? bf16_to_f32(f32_to_bf16(v)) : f16_to_f32(f32_to_f16(v));
      EXPECT_EQ(values(*read.parameters().find(p.name)), expected) << p.name;
    }
    const auto file = data::SafetensorsFile::open(dir / "model.safetensors");
    EXPECT_EQ(file.metadata().at("format"), "pt");
    EXPECT_EQ(file.tensor("model.norm.weight").dtype, data::stored_type(type));
  }
}

TEST_F(Folder, ShardsAndNamesWithoutThePrefixAreReadToo) {
  const Qwen written = model(config("tiny3", false));
  write_config(written.config());
  for (const char* prefix : {"", "model."}) {
    const std::vector<Stored> all = stored(written, prefix);
    const auto half = static_cast<std::ptrdiff_t>(all.size() / 2);
    write(dir / "a.safetensors", {all.begin(), all.begin() + half});
    write(dir / "b.safetensors", {all.begin() + half, all.end()});
    nlohmann::json index;
    for (size_t i = 0; i < all.size(); ++i)
      index["weight_map"][all[i].name] =
          static_cast<std::ptrdiff_t>(i) < half ? "a.safetensors" : "b.safetensors";
    std::ofstream(dir / "model.safetensors.index.json") << index.dump();
    const Qwen read = model(read_folder_config(dir), 4);
    load_folder_weights(dir, read);
    expect_equal(read, written);
  }
  EXPECT_THROW(export_folder(dir, written, {}), Error) << "the old index would point readers at the old shards";
}

TEST_F(Folder, ATiedModelIgnoresARedundantHeadAndAnUntiedOneNeedsIt) {
  const Qwen tied = model(config("tiny", true));
  std::vector<Stored> all = stored(tied, "model.");
  Stored head = all[0];
  head.name = "lm_head.weight";
  head.bytes.assign(head.bytes.size(), std::byte{0});
  std::vector<Stored> with_head = all;
  with_head.push_back(head);
  write(dir / "model.safetensors", with_head);
  const Qwen read = model(tied.config(), 4);
  load_folder_weights(dir, read);
  expect_equal(read, tied);
  expect_refused(config("tiny", false), all, {"missing", "'lm_head.weight'"});
}

TEST_F(Folder, WhatDoesNotFitIsRefusedByName) {
  const QwenConfig c = config("tiny", true);
  const std::vector<Stored> all = stored(model(c), "model.");
  std::vector<Stored> bad = all;
  bad.push_back(
      {"model.layers.0.self_attn.rotary_emb.inv_freq", {1}, StoredType::F32, std::vector<std::byte>(4)});
  expect_refused(c, bad, {"the model has no", "model.layers.0.self_attn.rotary_emb.inv_freq"});
  bad = {all.begin(), all.end() - 1};
  expect_refused(c, bad, {"missing", "model.norm.weight"});
  bad = all;
  std::swap(bad[1], bad[2]);
  bad[3].shape = {bad[3].shape[0] / 2, 2 * (bad[3].shape.size() > 1 ? bad[3].shape[1] : 1)};
  expect_refused(c, bad, {"shape [", "asks for ["});
  bad = all;
  bad[0].name = "embed_tokens.weight";
  bad.push_back(all[0]);
  expect_refused(c, bad, {"are the same weight", "embed_tokens.weight"});
  bad = all;
  bad[0].type = StoredType::I32;
  expect_refused(c, bad, {"I32", "must be F32, BF16 or F16"});
  fs::resize_file(dir / "model.safetensors", fs::file_size(dir / "model.safetensors") / 2);
  const Qwen m = model(c, 9);
  EXPECT_THROW(load_folder_weights(dir, m), Error) << "a file cut in half";
  fs::remove(dir / "model.safetensors");
  EXPECT_THROW(load_folder_weights(dir, m), Error) << "no weights at all";
  EXPECT_THROW(read_folder_config(dir / "absent"), Error);
}

TEST_F(Folder, ADryRunNeedsNoWeightsButChecksThoseThatAreThere) {
  const QwenConfig c = config("tiny", true);
  write_config(c);
  Device meta(DeviceKind::meta, DeviceSpec::this_machine());
  const Qwen m(meta, read_folder_config(dir), 1);
  EXPECT_NO_THROW(load_folder_weights(dir, m));
  std::vector<Stored> all = stored(model(c), "model.");
  write(dir / "model.safetensors", all);
  EXPECT_NO_THROW(load_folder_weights(dir, m));
  all.pop_back();
  write(dir / "model.safetensors", all);
  EXPECT_THROW(load_folder_weights(dir, m), Error);
  EXPECT_THROW(export_folder(dir, m, {}), Error) << "there are no values to export";
}

TEST_F(Folder, ConfigsThatWouldGiveSilentlyWrongNumbersAreRefused) {
  const auto json = nlohmann::json::parse(config("tiny", true).to_json());
  auto j = json;
  j["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 777.0}};
  j.erase("rope_theta");
  EXPECT_EQ(QwenConfig::from_json_text(j.dump(), "x").rope_theta, 777);
  j["rope_parameters"]["rope_type"] = "yarn";
  EXPECT_THROW(QwenConfig::from_json_text(j.dump(), "x"), Error);
  j = json;
  j["rope_scaling"] = {{"type", "dynamic"}, {"factor", 2.0}};
  EXPECT_THROW(QwenConfig::from_json_text(j.dump(), "x"), Error);
  j = json;
  j["hidden_act"] = "gelu";
  EXPECT_THROW(QwenConfig::from_json_text(j.dump(), "x"), Error);
}

TEST_F(Folder, ExportKeepsTheBaseFoldersOtherEntriesAndItsTokenizer) {
  const Qwen m = model(config("tiny", true));
  const fs::path base = dir / "base", to = dir / "to";
  fs::create_directories(base);
  auto j = nlohmann::json::parse(m.config().to_json());
  j["eos_token_id"] = 151645;
  j["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1.0}};
  std::ofstream(base / "config.json") << j.dump();
  std::ofstream(base / "vocab.json") << "{}";
  std::ofstream(base / "merges.txt") << "#version: 0.2\n";
  export_folder(to, m, {.dtype = DType::bf16, .tokenizer = base.string(), .base = base.string()});
  std::ifstream in(to / "config.json");
  const auto written = nlohmann::json::parse(in);
  EXPECT_EQ(written.at("eos_token_id"), 151645);
  EXPECT_EQ(written.at("torch_dtype"), "bfloat16");
  EXPECT_EQ(read_folder_config(to).rope_theta, 12345) << "the exported model's, not a leftover of the base";
  EXPECT_TRUE(fs::exists(to / "vocab.json") && fs::exists(to / "merges.txt"));
  EXPECT_THROW(open_tokenizer(dir.string()), Error) << "a folder without a tokenizer";
}

}  // namespace
}  // namespace reckon::models
