// reckon flops: one training step counted under every convention in use.
#include <iostream>
#include <memory>

#include "calculators/devices.h"
#include "calculators/quantity.h"
#include "calculators/qwen_conventions.h"
#include "cli/commands.h"
#include "profiler/file.h"
#include "runtime/core/error.h"

namespace reckon::cli {
namespace {

using namespace calculators;

struct FlopsFlags {
  std::string model, preset = "qwen2.5-0.5b", config, checkpoint = "none", budget, step_time, peak, json;
  int64_t batch = 4, seq = 512, rank = 8;
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

void run(const FlopsFlags& f) {
  RECKON_CHECK(f.model == "qwen",
               "unknown model '{}': these conventions are about language models, expected qwen (for the others "
               "`reckon plan` counts FLOPs)",
               f.model);
  RECKON_CHECK(f.checkpoint == "none" || f.checkpoint == "block",
               "--checkpoint must be none or block here, got '{}'", f.checkpoint);
  RECKON_CHECK(f.batch >= 1 && f.seq >= 1, "--batch and --seq must be at least 1, got {} and {}", f.batch,
               f.seq);
  ConventionQuestion q;
  q.config =
      f.config.empty() ? models::QwenConfig::preset(f.preset) : models::QwenConfig::from_json_file(f.config);
  q.batch = f.batch;
  q.seq = f.seq;
  q.lora_rank = f.rank;
  q.checkpoint_block = f.checkpoint == "block";
  if (!f.budget.empty()) q.budget = parse_flops(f.budget, "--budget");
  if (!f.step_time.empty()) q.step_seconds = parse_seconds(f.step_time, "--step-time");
  if (!f.peak.empty()) read_peak(f.peak, q);
  const ConventionTable table = count_conventions(q, DeviceSpec::this_machine());
  if (!f.json.empty()) profiler::write_file(f.json, conventions_json(table).dump(1) + "\n");
  write_conventions(std::cout, table);
}

}  // namespace

void add_flops(CLI::App& app) {
  auto f = std::make_shared<FlopsFlags>();
  CLI::App* c = app.add_subcommand("flops",
                                   "FLOPs of one training step under every convention in use, from one "
                                   "recorded dry run, with each one's closed formula beside it");
  c->add_option("MODEL", f->model, "qwen")->required();
  auto* preset =
      c->add_option("--preset", f->preset,
                    "Model sizes: qwen2.5-0.5b ... qwen2.5-72b, qwen3-0.6b ... qwen3-32b, demo, tiny, tiny3")
          ->capture_default_str();
  c->add_option("--config", f->config, "A Hugging Face config.json instead of a preset")->excludes(preset);
  c->add_option("--batch", f->batch, "Sequences per step")->capture_default_str();
  c->add_option("--seq", f->seq, "Tokens per sequence")->capture_default_str();
  c->add_option("--rank", f->rank,
                "LoRA rank of the rows about adapters on q_proj and v_proj; 0: leave those rows out")
      ->capture_default_str();
  c->add_option("--checkpoint", f->checkpoint,
                "none, or block: the layers' forward pass runs twice (counts for HFU, not for MFU)")
      ->capture_default_str();
  c->add_option("--budget", f->budget,
                "FLOPs to spend, such as 1e21: how many whole steps they buy under each convention");
  c->add_option("--step-time", f->step_time,
                "Measured time of a step, such as 0.38 (seconds) or '380 ms': gives tokens per second and, "
                "with --peak-flops, MFU and HFU");
  c->add_option("--peak-flops", f->peak,
                "Denominator of MFU and HFU: FLOP/s such as 989e12 or '989 TFLOP/s', or a device: A100, H100, "
                "H200, RTX4090, TPUv3-core (dense bf16)");
  c->add_option("--json", f->json, "Also write everything to this file");
  c->callback([f] { run(*f); });
}

}  // namespace reckon::cli
