// reckon flops: one training step counted under every convention in use.
#include <iostream>
#include <memory>

#include "calculators/devices.h"
#include "calculators/quantity.h"
#include "calculators/qwen_conventions.h"
#include "cli/commands.h"
#include "cli/typed_flags.h"
#include "models/qwen/options.h"
#include "models/train/family.h"
#include "profiler/file.h"
#include "runtime/core/error.h"

namespace reckon::cli {
namespace {

using namespace calculators;

struct FlopsFlags {
  models::RunOptions sizes;  // model and sizes alone
  ConventionQuestion question;
  std::string json;
};

// A rate, or the name of a device whose dense bf16 peak it is.
void read_peak(const std::string& text, ConventionQuestion& q) {
  if (const KnownDevice* d = find_device(text)) {
    RECKON_CHECK(d->dense_bf16 > 0, "no peak rate is known for {}: give --peak-flops as a number", d->name);
    q.peak_flops = d->dense_bf16;
    q.peak_name = fmt::format("{}, bf16, dense (published)", d->name);
    if (d->sparse_bf16 > 0)
      q.peak_name += fmt::format("; over its sparse {:g} TFLOP/s the figures would be {:.2f} times these",
                                 d->sparse_bf16 / 1e12, d->dense_bf16 / d->sparse_bf16);
    return;
  }
  q.peak_flops = parse_flops(text, "--peak-flops");
  q.peak_name = "as given with --peak-flops";
}

bool parse_checkpoint(const std::string& text) {
  RECKON_CHECK(text == "none" || text == "block", "--checkpoint must be none or block here, got '{}'", text);
  return text == "block";
}

void run(const FlopsFlags& f) {
  models::check_command(models::family_named(f.sizes.family), "flops");
  ConventionQuestion q = f.question;
  RECKON_CHECK(q.batch >= 1 && q.seq >= 1, "--batch and --seq must be at least 1, got {} and {}", q.batch,
               q.seq);
  q.config = models::qwen_config(f.sizes);
  const ConventionTable table = count_conventions(q, DeviceSpec::this_machine());
  if (!f.json.empty()) profiler::write_file(f.json, conventions_json(table).dump(1) + "\n");
  write_conventions(std::cout, table);
}

}  // namespace

void add_flops(CLI::App& app) {
  auto f = std::make_shared<FlopsFlags>();
  f->sizes.preset = "qwen2.5-0.5b";
  ConventionQuestion& q = f->question;
  CLI::App* c = app.add_subcommand("flops",
                                   "FLOPs of one training step under every convention in use, from one "
                                   "recorded dry run, with each one's closed formula beside it");
  const auto counts = [](const models::Family& of) { return models::has_command(of, "flops"); };
  c->add_option("MODEL", f->sizes.family, models::families_that(counts))->required();
  auto* preset =
      c->add_option("--preset", f->sizes.preset,
                    "Model sizes: qwen2.5-0.5b ... qwen2.5-72b, qwen3-0.6b ... qwen3-32b, demo, tiny, tiny3")
          ->capture_default_str();
  c->add_option_function<std::string>(
       "--config", [f](const std::string& text) { models::read_config_flag(f->sizes, text); },
       "A Hugging Face config.json instead of a preset")
      ->excludes(preset);
  c->add_option("--batch", q.batch, "Sequences per step")->capture_default_str();
  c->add_option("--seq", q.seq, "Tokens per sequence")->capture_default_str();
  c->add_option("--rank", q.lora_rank,
                "LoRA rank of the rows about adapters on q_proj and v_proj; 0: leave those rows out")
      ->capture_default_str();
  add_parsed(*c, "--checkpoint", q.checkpoint_block, parse_checkpoint, "none",
             "none, or block: the layers' forward pass runs twice (counts for HFU, not for MFU)");
  add_parsed(
      *c, "--budget", q.budget, [](const std::string& text) { return parse_flops(text, "--budget"); }, "",
      "FLOPs to spend, such as 1e21: how many whole steps they buy under each convention");
  add_parsed(
      *c, "--step-time", q.step_seconds,
      [](const std::string& text) { return parse_seconds(text, "--step-time"); }, "",
      "Measured time of a step, such as 0.38 (seconds) or '380 ms': gives tokens per second and, "
      "with --peak-flops, MFU and HFU");
  c->add_option_function<std::string>(
      "--peak-flops", [f](const std::string& text) { read_peak(text, f->question); },
      "Denominator of MFU and HFU: FLOP/s such as 989e12 or '989 TFLOP/s', or a device: A100, H100, "
      "H200, RTX4090, TPUv3-core (dense bf16)");
  c->add_option("--json", f->json, "Also write everything to this file");
  c->callback([f] { run(*f); });
}

}  // namespace reckon::cli
