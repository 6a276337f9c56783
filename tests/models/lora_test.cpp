// LoRA: frozen weights cost no gradient, no state and no product; adapters travel
// through checkpoints and exports.
#include "models/qwen/lora.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "autograd/engine.h"
#include "autograd/grad_mode.h"
#include "autograd/node.h"
#include "models/data/safetensors.h"
#include "models/qwen/folder.h"
#include "models/qwen/options.h"
#include "models/train/trainer.h"
#include "parity/books.h"
#include "runtime/events/scope.h"
#include "tests/support/training_data.h"

namespace reckon::models {
namespace {

struct Sizes {
  QwenConfig config;
  int64_t B, S;
};

// Products 2 m n k of one step. Layer 0 has nothing trained below it: no gradient goes through its projections'
// inputs, and none to its keys unless they have an adapter.
TEST(Lora, MatrixFlopsOfAStepMeetTheClosedForm) {
  std::vector<Sizes> all;
  for (const char* preset : {"tiny", "tiny3", "demo"}) all.push_back({QwenConfig::preset(preset), 2, 12});
  all.push_back({QwenConfig::preset("tiny"), 1, 7});
  all.back().config.tied = false;
  all.back().config.layers = 3;
  all.push_back({QwenConfig::preset("qwen2.5-0.5b"), 4, 512});
  for (const Sizes& s : all) {
    const QwenConfig& c = s.config;
    const int64_t B = s.B, S = s.S, T = B * S, L = c.layers, h = c.hidden, A = c.heads, K = c.kv_heads,
                  D = c.head_dim, I = c.intermediate, r = 8;
    Device device(DeviceKind::meta, DeviceSpec::this_machine());
    Qwen model(device, c, 1);
    model.add_lora({});
    const Tensor ids = Tensor::empty(device, {B, S}, DType::i64, Category::input, "ids");
    parity::FlopCounter counter(device);
    parity::Books books;
    Tensor loss;
    {
      PhaseScope phase(Phase::forward);
      loss = model.loss(ids, ids);
    }
    autograd::backward(loss);
    counter.write_to(&books);
    const int64_t qkv = 2 * T * h * (A + 2 * K) * D, o = 2 * T * A * D * h, attention = 4 * B * A * S * S * D,
                  ffn = 6 * T * h * I, head = 2 * T * h * c.vocab;
    const int64_t lora = 2 * T * r * (h + A * D) + 2 * T * r * (h + K * D);
    EXPECT_EQ(books.forward_flops, L * (qkv + o + attention + ffn + lora) + head) << c.name;
    EXPECT_EQ(books.backward_flops, L * (o + ffn + 2 * attention) + head + (L - 1) * qkv + 2 * L * lora -
                                        4 * T * r * h - 2 * B * A * S * S * D)
        << c.name;
    if (c.name == "qwen2.5-0.5b") {
      EXPECT_EQ(books.forward_flops + books.backward_flops, 4317591371776) << "the published figure";
    }
    int64_t trained = 0;
    for (const NamedParameter& p : model.parameters().all()) {
      EXPECT_EQ(p.tensor.requires_grad(), model.is_adapter(p.name)) << p.name;
      EXPECT_EQ(autograd::grad_of(p.tensor).defined(), model.is_adapter(p.name)) << p.name;
      if (p.tensor.requires_grad()) trained += p.tensor.numel();
    }
    EXPECT_EQ(trained, L * r * (h + A * D + h + K * D));
  }
}

class LoraRun : public ::testing::Test {
 protected:
  testing::TrainingData data{"lora_test", "the cell adds up to the byte", 400};
  const std::filesystem::path& dir = data.dir();
  Device device{DeviceKind::cpu, DeviceSpec::this_machine()};

  RunOptions options(const char* lora, autograd::FusionSet fuse = {}) const {
    RunOptions o;
    o.family = "qwen";
    o.preset = "tiny";
    o.data = data.text();
    o.own<QwenOptions>().cache_dir = data.cache();
    o.fuse = fuse;
    o.steps = 6;
    o.lr = 0.02;
    o.schedule = Schedule::Kind::constant;
    o.own<QwenOptions>().lora = LoraOptions::parse(lora);
    o.resolve();
    return o;
  }
  static std::vector<float> values(const Tensor& t) { return {t.data<float>(), t.data<float>() + t.numel()}; }
};

constexpr const char* kEverything =
    "r=4,alpha=8,targets=q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj";

TEST_F(LoraRun, OnlyAdaptersMoveAndOnlyTheyHaveState) {
  Trainer trainer(options("r=4,alpha=8,targets=q_proj,down_proj"), device, true);
  std::vector<std::vector<float>> before;
  int64_t trained = 0;
  for (const NamedParameter& p : trainer.task().parameters().all()) {
    before.push_back(values(p.tensor));
    trained += p.tensor.requires_grad() ? p.tensor.numel() : 0;
  }
  trainer.step();
  trainer.step();  // B starts at 0, so A moves from the second step on
  size_t i = 0;
  for (const NamedParameter& p : trainer.task().parameters().all())
    EXPECT_EQ(values(p.tensor) != before[i++], p.name.find(".lora_") != std::string::npos) << p.name;
  EXPECT_EQ(device.arena().live_bytes(Category::optimizer), static_cast<size_t>(trained) * 8)
      << "two f32 moments each";
}

TEST_F(LoraRun, FusedAndEagerAgreeForEveryTarget) {
  std::vector<double> losses[2];
  for (int f = 0; f < 2; ++f) {
    Trainer trainer(options(kEverything, f ? autograd::FusionSet::all() : autograd::FusionSet::none()), device,
                    true);
    while (!trainer.done()) losses[f].push_back(*trainer.step().loss);
  }
  for (size_t i = 0; i < losses[0].size(); ++i) EXPECT_NEAR(losses[0][i], losses[1][i], 2e-4) << i;
  EXPECT_LT(losses[0].back(), losses[0].front());
}

TEST_F(LoraRun, ResumingContinuesBitForBitFromAFileThatHoldsAdaptersOnly) {
  const RunOptions o = options(kEverything);
  const std::string file = (dir / "state.safetensors").string();
  std::vector<double> whole, resumed;
  {
    Trainer trainer(o, device, true);
    while (!trainer.done()) {
      if (trainer.steps_done() == 3) trainer.save(file);
      whole.push_back(*trainer.step().loss);
    }
  }
  const auto stored = data::SafetensorsFile::open(file);
  for (const std::string& name : stored.names()) EXPECT_NE(name.find(".lora_"), std::string::npos) << name;
  Trainer trainer(o, device, true, 3);
  trainer.resume(file);
  while (!trainer.done()) resumed.push_back(*trainer.step().loss);
  EXPECT_EQ(resumed, std::vector<double>(whole.begin() + 3, whole.end()));

  RunOptions plain = o;
  plain.own<QwenOptions>().lora.reset();
  Trainer without(plain, device, true, 3);
  EXPECT_THROW(without.resume(file), Error) << "adapters are no whole model";
  Trainer other_base(o, device, true, 3);
  for (const NamedParameter& p : other_base.task().parameters().all())
    if (p.name == "norm.weight") p.tensor.data<float>()[0] += 1;
  EXPECT_THROW(other_base.resume(file), Error) << "the adapters belong to other weights";
}

TEST_F(LoraRun, ExportMergesTheAdaptersIntoTheWeights) {
  const QwenConfig c = QwenConfig::preset("tiny");
  Qwen model(device, c, 5);
  model.add_lora(LoraOptions::parse(kEverything));
  for (const NamedParameter& p : model.parameters().all())
    if (p.name.ends_with("lora_B.weight"))
      for (int64_t i = 0; i < p.tensor.numel(); ++i)
        p.tensor.data<float>()[i] = 0.03f * static_cast<float>(i % 7 - 3);
  export_folder(dir / "hf", model, {});
  const Qwen merged(device, read_folder_config(dir / "hf"), 6);
  const Qwen base(device, c, 5);
  load_folder_weights(dir / "hf", merged);
  std::vector<int64_t> ids{1, 5, 9, 200, 33, 7, 7, 8};
  const Tensor t =
      Tensor::from_host(device, {1, 8}, DType::i64, ids.data(), ids.size() * 8, Category::input, "ids");
  autograd::NoGrad no_grad;
  const auto logits = [&](const Qwen& m) { return values(m.logits(m.hidden(t))); };
  const auto adapted = logits(model), from_file = logits(merged), plain = logits(base);
  double apart = 0, moved = 0;
  for (size_t i = 0; i < adapted.size(); ++i) {
    apart = std::max(apart, static_cast<double>(std::abs(adapted[i] - from_file[i])));
    moved = std::max(moved, static_cast<double>(std::abs(adapted[i] - plain[i])));
  }
  EXPECT_LT(apart, 1e-4);
  EXPECT_GT(moved, 0.05) << "adapters that change nothing prove nothing";
}

TEST(Lora, TheTextFormRoundTripsAndNamesWhatItDoesNotUnderstand) {
  const LoraOptions o = LoraOptions::parse("r=4,targets=k_proj,up_proj,alpha=2.5");
  EXPECT_EQ(o.to_string(), "r=4,alpha=2.5,targets=k_proj,up_proj");
  EXPECT_EQ(LoraOptions::parse(o.to_string()).to_string(), o.to_string());
  for (const auto& [text, part] : {std::pair{"r=x", "'x'"},
                                   {"r=0", "rank"},
                                   {"rank=3", "rank=3"},
                                   {"targets=q", "'q'"},
                                   {"q_proj", "q_proj"},
                                   {"alpha=-1", "alpha"},
                                   {"", "not understood"},
                                   {"targets=q_proj,q_proj", "twice"},
                                   {"alpha=nan", "alpha"}})
    try {
      LoraOptions::parse(text);
      ADD_FAILURE() << text << " was accepted";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << text << ": " << e.what();
    }
}

}  // namespace
}  // namespace reckon::models
