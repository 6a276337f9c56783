// The AF3-shaped family: sizes, learning, and the promises under its own settings
// (the general ones are in training_test).
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "autograd/engine.h"
#include "autograd/fusion.h"
#include "autograd/node.h"
#include "models/af3/model.h"
#include "models/train/trainer.h"
#include "profiler/audit.h"
#include "profiler/ledger.h"
#include "profiler/repeats.h"
#include "runtime/events/scope.h"

namespace reckon::models::af3 {
namespace {

// Part of the closed forms (Config::n_parameters_by_part) that a parameter belongs to, by its name.
std::string_view part_of_parameter(std::string_view name) {
  const auto starts = [&](std::string_view prefix) { return name.starts_with(prefix); };
  if (starts("pairformer.")) return "pairformer";
  if (starts("msa_module.")) return "msa module";
  if (starts("template_embedder.")) return "template embedder";
  if (starts("diffusion.token_transformer.")) return "token transformer";
  if (starts("diffusion.atom_encoder.") || starts("diffusion.atom_decoder.")) return "diffusion atom layers";
  if (starts("diffusion.single_conditioner.")) return "single conditioner";
  if (starts("diffusion.pair_conditioner.")) return "pair conditioner";
  if (starts("diffusion.")) return "rest of the diffusion network";
  if (starts("confidence.")) return "confidence head";
  const bool table = starts("input_embedder.atom_types") || starts("input_embedder.atompair_types") ||
                     starts("input_embedder.modifications");
  if (starts("input_embedder.") && !table) return "input embedder";
  return "other embeddings, recycling, distogram";
}

RunOptions tiny(void (*change)(RunOptions&) = [](RunOptions&) {}) {
  RunOptions o;
  o.family = "af3";
  o.preset = "tiny";
  o.steps = 2;
  change(o);
  o.resolve();
  return o;
}

std::vector<Event> events_of(const RunOptions& o, DeviceKind kind) {
  Device device(kind, DeviceSpec::this_machine());
  profiler::Ledger ledger;
  ledger.keep_events(true);
  device.add_sink(&ledger);
  {
    Trainer trainer(o, device, /*with_data=*/true);
    while (!trainer.done()) trainer.step();
  }
  return {ledger.events().begin(), ledger.events().end()};
}

TEST(Af3, ParametersOfEveryPartAreTheClosedForms) {
  for (const std::string& preset : Config::preset_names()) {
    const Config c = Config::preset(preset);
    Device device(DeviceKind::meta, DeviceSpec::this_machine());
    const Model model(device, c, 1);
    std::map<std::string, int64_t> counted;
    for (const NamedParameter& p : model.parameters().all())
      counted[std::string(part_of_parameter(p.name))] += p.tensor.numel();
    for (const auto& [part, formula] : c.n_parameters_by_part())
      EXPECT_EQ(counted[part], formula) << preset << ": " << part;
    EXPECT_EQ(model.parameters().n_elements(), c.n_parameters()) << preset;
  }
}

TEST(Af3, FullSizeHasThePublishedParameters) {
  const Config c = Config::preset("af3");
  EXPECT_EQ(c.n_parameters(), 508931625);
  std::map<std::string, double> millions;
  for (const auto& [part, n] : c.n_parameters_by_part()) millions[part] = static_cast<double>(n) / 1e6;
  // Rounded as published: 206.5, 268.1, 8.1 for both conditioners, 2.2, 3.2, 17.9, and 2.9 for what is left.
  EXPECT_NEAR(millions["pairformer"], 206.5, 0.05);
  EXPECT_NEAR(millions["token transformer"], 268.1, 0.05);
  EXPECT_NEAR(millions["single conditioner"] + millions["pair conditioner"], 8.1, 0.05);
  EXPECT_NEAR(millions["diffusion atom layers"], 2.2, 0.05);
  EXPECT_NEAR(millions["msa module"], 3.2, 0.05);
  EXPECT_NEAR(millions["confidence head"], 17.9, 0.05);
  EXPECT_NEAR(millions["template embedder"] + millions["rest of the diffusion network"] +
                  millions["input embedder"] + millions["other embeddings, recycling, distogram"],
              2.9, 0.05);
}

TEST(Af3, TheTinyModelLearns) {
  const RunOptions o = tiny([](RunOptions& r) { r.steps = 60; });
  Device device(DeviceKind::cpu, DeviceSpec::this_machine());
  Trainer trainer(o, device, true);
  std::vector<double> losses;
  while (!trainer.done()) losses.push_back(*trainer.step().loss);
  const double first = std::accumulate(losses.begin(), losses.begin() + 10, 0.0),
               last = std::accumulate(losses.end() - 10, losses.end(), 0.0);
  EXPECT_LT(last, 0.85 * first) << "mean of ten steps: " << first / 10 << " at first, " << last / 10
                                << " at last";
}

TEST(Af3, BackwardPerChunkNeedsAnUnscaledLoss) {
  for (void (*change)(RunOptions&) :
       {+[](RunOptions& o) { o.accumulate = 2; }, +[](RunOptions& o) { o.dtype = DType::f16; }}) {
    RunOptions o;
    o.family = "af3";
    o.preset = "tiny";
    o.own<StepOptions>().backward_per_chunk = true;
    change(o);
    EXPECT_THROW(o.resolve(), Error);
  }
}

struct Setting {
  const char* name;
  void (*change)(RunOptions&);
};

TEST(Af3, DryRunEqualsRunUnderItsOwnSettings) {
  using autograd::CheckpointPolicy;
  for (const Setting& s :
       {Setting{"rollout", [](RunOptions& o) { o.own<StepOptions>().rollout = true; }},
        {"rollout, hoisted, fused, 16 bits, blocks",
         [](RunOptions& o) {
           o.own<StepOptions>().rollout = o.own<StepOptions>().hoist_conditioner =
               o.own<StepOptions>().backward_per_chunk = true;
           o.fuse = autograd::FusionSet::all();
           o.dtype = o.own<StepOptions>().diffusion_dtype = o.own<StepOptions>().head_dtype = DType::bf16;
           o.checkpoint = CheckpointPolicy::block;
         }},
        {"no templates, one pass, whole chunk, no confidence",
         [](RunOptions& o) {
           o.own<StepOptions>().templates = 0;
           o.own<StepOptions>().recycles = 1;
           o.own<StepOptions>().chunk = 3;
           o.own<StepOptions>().confidence = false;
         }},
        {"atoms that fill their windows, three passes, sublayers",
         [](RunOptions& o) {
           o.own<StepOptions>().tokens = 10;
           o.own<StepOptions>().atoms_per_token = 2;
           o.own<StepOptions>().recycles = 3;
           o.checkpoint = CheckpointPolicy::sublayer;
           o.dtype = DType::bf16;
         }},
        {"backward per chunk", [](RunOptions& o) { o.own<StepOptions>().backward_per_chunk = true; }},
        {"hoisted, selective", [](RunOptions& o) {
           o.own<StepOptions>().hoist_conditioner = true;
           o.checkpoint = CheckpointPolicy::selective;
         }}}) {
    const RunOptions o = tiny(s.change);
    const auto cpu = events_of(o, DeviceKind::cpu), meta = events_of(o, DeviceKind::meta);
    const profiler::AuditResult result = profiler::audit(meta, cpu);
    EXPECT_TRUE(result.equal) << s.name << ": " << result.text;
    const profiler::BooksCheck books = profiler::check_books(cpu);
    EXPECT_TRUE(books.closed) << s.name << ": " << books.text;
  }
}

struct Gradients {
  float loss = 0;
  std::map<std::string, std::vector<float>> of;
};

Gradients gradients(const StepOptions& step, autograd::FusionSet fuse = {}) {
  Device device(DeviceKind::cpu, DeviceSpec::this_machine());
  const Config c = Config::preset("tiny");
  Gradients out;
  const Model model(device, c, 5);
  const autograd::FusionScope fusions(fuse);
  const Example e = make_example(device, c, step, 9, 0, true);
  PhaseScope phase(Phase::forward);
  const Model::Loss loss = model.loss(e, step, DType::f32, false);
  out.loss = *loss.value.data<float>();
  autograd::backward(loss.roots, loss.seeds);
  for (const NamedParameter& p : model.parameters().all())
    if (const Tensor g = autograd::grad_of(p.tensor); g.defined()) {
      out.of[p.name].assign(g.data<float>(), g.data<float>() + g.numel());
      autograd::clear_grad(p.tensor);
    }
  return out;
}

// Differences of a norm's shift before a softmax are left out of proportion: it moves all
// logits of a row alike, so its gradient is nothing but rounding. Hence a part of the whole
// gradient is allowed to every tensor.
void expect_equal_but_for_rounding(const Gradients& a, const Gradients& b, double tolerance) {
  ASSERT_EQ(a.of.size(), b.of.size());
  const auto norm = [](const std::vector<float>& v) {
    double sum = 0;
    for (float x : v) sum += static_cast<double>(x) * x;
    return std::sqrt(sum);
  };
  double whole = 0;
  for (const auto& [name, g] : a.of) whole = std::hypot(whole, norm(g));
  for (const auto& [name, g] : a.of) {
    std::vector<float> off = b.of.at(name);
    for (size_t i = 0; i < off.size(); ++i) off[i] -= g[i];
    EXPECT_LT(norm(off), tolerance * (norm(g) + 0.01 * whole)) << name << ": " << norm(g) << " of " << whole;
  }
}

StepOptions tiny_step() {
  StepOptions s;
  s.resolve(Config::preset("tiny"));
  return s;
}

TEST(Af3, HoistingTheConditionerChangesNoBitOfTheLossAndGradientsOnlyByTheOrderOfSums) {
  StepOptions step = tiny_step();
  const Gradients each = gradients(step);
  step.hoist_conditioner = true;
  const Gradients once = gradients(step);
  EXPECT_EQ(each.loss, once.loss);
  expect_equal_but_for_rounding(each, once, 2e-5);
  size_t conditioner = 0;
  for (const auto& [name, g] : each.of) {
    conditioner += name.starts_with("diffusion.pair_conditioner.");
  }
  EXPECT_GT(conditioner, 5u) << "the conditioner itself must have been compared";
}

TEST(Af3, BackwardPerChunkChangesLossAndGradientsOnlyByTheOrderOfSums) {
  for (bool hoist : {false, true}) {
    StepOptions step = tiny_step();
    step.hoist_conditioner = hoist;
    const Gradients whole = gradients(step);
    step.backward_per_chunk = true;
    const Gradients parts = gradients(step);
    EXPECT_NEAR(whole.loss, parts.loss, 1e-6 * std::abs(whole.loss));
    expect_equal_but_for_rounding(whole, parts, 2e-5);
  }
}

TEST(Af3, FusedOpsGiveTheSameLossAndGradients) {
  const Gradients plain = gradients(tiny_step()), fused = gradients(tiny_step(), autograd::FusionSet::all());
  EXPECT_NEAR(plain.loss, fused.loss, 1e-4 * std::abs(plain.loss));
  expect_equal_but_for_rounding(plain, fused, 1e-3);
}

TEST(Af3, EveryPartReachesTheLossButTheLastMsaRowsAndFrozenFrequencies) {
  const Gradients g = gradients(tiny_step());
  Device device(DeviceKind::meta, DeviceSpec::this_machine());
  const Model model(device, Config::preset("tiny"), 5);
  for (const NamedParameter& p : model.parameters().all()) {
    // The last MSA layer's rows are not read again; frequencies stay random.
    const bool last_rows = p.name.starts_with("msa_module.1.pair_weighted_averaging.") ||
                           p.name.starts_with("msa_module.1.msa_transition.");
    const bool frozen = p.name.starts_with("diffusion.single_conditioner.fourier.");
    EXPECT_EQ(g.of.count(p.name), last_rows || frozen ? 0u : 1u) << p.name;
  }
}

TEST(Af3, OptionsThatCannotWorkAreRefusedByName) {
  const auto message = [](void (*change)(RunOptions&)) {
    try {
      tiny(change);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_NE(message([](RunOptions& o) { o.batch = 2; }).find("--batch must be 1"), std::string::npos);
  EXPECT_NE(message([](RunOptions& o) { o.own<StepOptions>().chunk = -1; }).find("--chunk"), std::string::npos);
  EXPECT_NE(message([](RunOptions& o) { o.seq = 2; }).find("--tokens"), std::string::npos);
  EXPECT_NE(message([](RunOptions& o) { o.preset = "huge"; }).find("expected one of af3, demo, tiny"),
            std::string::npos);
  EXPECT_NE(message([](RunOptions& o) {
              o.own<StepOptions>().rollout = true;
              o.own<StepOptions>().confidence = false;
            }).find("--rollout feeds the confidence head"),
            std::string::npos);
}

TEST(Af3, TheLedgerFindsThePairConditionerByItself) {
  const auto repeats = [](const RunOptions& o) {
    Device device(DeviceKind::meta, DeviceSpec::this_machine());
    profiler::Ledger ledger;
    device.add_sink(&ledger);
    Trainer trainer(o, device, false);
    while (!trainer.done()) trainer.step();
    return profiler::find_repeated_subgraphs(ledger.last_step_events());
  };
  const auto named = [](const std::vector<profiler::RepeatedSubgraph>& list) {
    for (const auto& r : list)
      if (r.module == "diffusion.pair_conditioner") return r.executions;
    return int64_t{0};
  };
  const auto set = [](RunOptions& o) {
    o.preset = "af3";
    o.seq = 32;
    o.steps = 1;
    o.dtype = DType::bf16;
  };
  const auto found = repeats(tiny(set));
  ASSERT_FALSE(found.empty());
  EXPECT_EQ(found[0].module, "diffusion.pair_conditioner") << "the largest repeat comes first";
  EXPECT_EQ(found[0].executions, 12);
  RunOptions o = tiny(set);
  o.own<StepOptions>().hoist_conditioner = true;
  EXPECT_EQ(named(repeats(o)), 0);
  o.own<StepOptions>().hoist_conditioner = false;
  o.own<StepOptions>().rollout = true;
  EXPECT_EQ(named(repeats(o)), 12 + 39);
}

TEST(Af3, ModelsThatRepeatNothingShowNothing) {
  for (const char* family : {"qwen", "pairformer"}) {
    RunOptions o;
    o.family = family;
    o.preset = "tiny";
    o.steps = 1;
    o.resolve();
    Device device(DeviceKind::meta, DeviceSpec::this_machine());
    profiler::Ledger ledger;
    device.add_sink(&ledger);
    Trainer trainer(o, device, false);
    trainer.step();
    for (const auto& r : profiler::find_repeated_subgraphs(ledger.last_step_events()))
      ADD_FAILURE() << family << ": " << r.module << " " << r.executions << " times";
  }
}

}  // namespace
}  // namespace reckon::models::af3
