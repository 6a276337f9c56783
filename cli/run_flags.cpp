#include "cli/run_flags.h"

#include <cmath>
#include <filesystem>

#include "cli/devices.h"
#include "runtime/cpu/isa.h"
#include "runtime/cpu/threads.h"

namespace reckon::cli {

size_t parse_bytes(const std::string& text, const char* flag) {
  size_t used = 0;
  double value = -1;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
  }
  std::string unit = text.substr(used);
  while (!unit.empty() && unit.front() == ' ') unit.erase(0, 1);
  double factor = 0;
  for (const auto& [name, f] : {std::pair{"", 1.0},
                                {"B", 1.0},
                                {"K", 1024.0},
                                {"KiB", 1024.0},
                                {"kB", 1e3},
                                {"M", 1048576.0},
                                {"MiB", 1048576.0},
                                {"MB", 1e6},
                                {"G", 1073741824.0},
                                {"GiB", 1073741824.0},
                                {"GB", 1e9}})
    if (unit == name) factor = f;
  RECKON_CHECK(std::isfinite(value) && value >= 0 && used > 0 && factor > 0 && value * factor < 9e18,
               "{} '{}' is not a size: expected a number with B, KiB, MiB, GiB, kB, MB or GB, such as 512MiB",
               flag, text);
  return static_cast<size_t>(value * factor);
}

models::RunOptions RunFlags::resolve(int64_t default_steps) const {
  models::RunOptions o;
  o.family = models::family_from_name(family);
  o.preset = preset;
  if (!config.empty()) {
    const bool file = config.ends_with(".json") || std::filesystem::exists(config);
    (file ? o.config : o.preset) = config;
    if (file) o.preset = "";
  }
  o.model_dir = model;
  if (!model.empty()) o.preset = "";
  if (!lora.empty()) o.lora = models::LoraOptions::parse(lora);
  o.weights = weights;
  o.weights_prefix = weights_prefix;
  o.data = data;
  o.tokenizer = tokenizer;
  o.cache_dir = cache;
  o.device = device_kind_from_name(device);
  o.dtype = dtype_from_name(dtype);
  RECKON_CHECK(residual == "f32" || residual == "low",
               "--residual must be f32 or low (the type of --dtype), got '{}'", residual);
  o.low_residual = residual == "low";
  o.checkpoint = autograd::checkpoint_policy_from_name(checkpoint);
  o.fuse = autograd::FusionSet::parse(fuse);
  o.batch = batch;
  o.seq = seq;
  o.rows = rows;
  o.steps = steps > 0 || default_steps == 0 ? steps : default_steps;
  RECKON_CHECK(steps >= 0 && batch >= 0 && seq >= 0 && rows >= 0,
               "--steps, --batch, --seq and --rows must be positive");
  o.accumulate = accumulate;
  o.warmup = warmup;
  o.schedule = models::Schedule::kind_from_name(schedule);
  o.lr = lr;
  o.optimizer.kind = models::optimizer_from_name(optimizer);
  o.optimizer.weight_decay = weight_decay;
  o.optimizer.clip = clip;
  o.seed = seed;
  o.dropout = !no_dropout;
  o.af3 = af3;
  o.af3.confidence = !no_confidence;
  o.af3.diffusion_dtype = dtype_from_name(diffusion_dtype);
  o.af3.head_dtype = dtype_from_name(head_dtype);
  o.resolve();
  return o;
}

DeviceSpec RunFlags::device_spec() const {
  if (threads != 0) set_cpu_threads(threads);
  return spec_from_flags(spec, device);
}

std::unique_ptr<Device> RunFlags::make_device(DeviceKind kind, std::unique_ptr<Backend> opened) const {
  return open_device(kind, device_spec(), {parse_bytes(memory_limit, "--memory-limit"), check_nan},
                     std::move(opened));
}

void add_run_flags(CLI::App& app, RunFlags& f, bool with_data) {
  app.add_option(
         "MODEL", f.family,
         "qwen: Qwen2/2.5/3 decoder, next-token loss; evoformer: AlphaFold 2 Evoformer, masked-MSA loss; "
         "pairformer: AlphaFold 3 Pairformer, masked residues of one row from the profile of the others; "
         "af3: a whole AlphaFold-3-shaped training step on made-up chains")
      ->required();
  auto* sizes = "Model and sizes";
  auto* preset = app.add_option("--preset", f.preset,
                                "Model sizes. qwen: demo, tiny, tiny3, qwen2.5-0.5b ... qwen2.5-72b, "
                                "qwen3-0.6b ... qwen3-32b. evoformer: demo, tiny, alphafold2. "
                                "pairformer: demo, tiny, alphafold3. af3: demo, tiny, af3")
                     ->capture_default_str()
                     ->group(sizes);
  auto* config = app.add_option("--config", f.config,
                                "qwen: a Hugging Face config.json, or a preset's name; wins over --preset")
                     ->group(sizes);
  app.add_option(
         "--model", f.model,
         "qwen: a Hugging Face folder (config.json, *.safetensors, tokenizer): sizes and initial weights")
      ->excludes(preset)
      ->excludes(config)
      ->group(sizes);
  app.add_option("--weights", f.weights,
                 "evoformer, pairformer: safetensors file with the blocks under the names of OpenFold, "
                 "Protenix or Boltz")
      ->group(sizes);
  app.add_option("--weights-prefix", f.weights_prefix,
                 "Path to the stack inside --weights, such as evoformer.blocks; needed when several fit")
      ->group(sizes);
  app.add_option("--batch", f.batch, "Sequences per micro-batch (evoformer: crops); 0: the preset's")
      ->group(sizes);
  app.add_option(
         "--seq,--tokens", f.seq,
         "qwen: tokens per sequence; evoformer, pairformer: residues of the crop; af3: tokens; 0: the preset's")
      ->group(sizes);
  app.add_option("--rows,--msa-rows", f.rows, "evoformer, af3: alignment rows of the crop; 0: the preset's")
      ->group(sizes);

  auto* step = "af3: what a training step does (0: the preset's)";
  app.add_option("--atoms-per-token", f.af3.atoms_per_token, "Atoms of every token")->group(step);
  app.add_option("--templates", f.af3.templates, "Templates; 0: none, -1: the preset's")
      ->capture_default_str()
      ->group(step);
  app.add_option("--recycles", f.af3.recycles, "Passes through the trunk; all but the last are detached")
      ->group(step);
  app.add_option("--augmentations", f.af3.augmentations, "Noised copies of the structure")->group(step);
  app.add_option("--chunk", f.af3.chunk, "Copies per call of the diffusion network")->group(step);
  app.add_flag("--rollout", f.af3.rollout,
               "The confidence head judges a structure sampled without gradients (20 Heun steps: 39 calls)")
      ->group(step);
  app.add_flag("--no-confidence", f.no_confidence, "Leave out the confidence head")->group(step);
  app.add_flag("--hoist-conditioner", f.af3.hoist_conditioner,
               "Pair conditioning once a step, not once per call of the diffusion network")
      ->group(step);
  app.add_flag("--backward-per-chunk", f.af3.backward_per_chunk,
               "Gradients of each chunk and of the confidence head right after its forward pass: one chunk's "
               "memory instead of all")
      ->group(step);
  app.add_option("--diffusion-dtype", f.diffusion_dtype,
                 "f32, bf16 or f16: products of the diffusion network (--dtype is the trunk's)")
      ->capture_default_str()
      ->group(step);
  app.add_option("--head-dtype", f.head_dtype,
                 "f32, bf16 or f16: products of the distogram and confidence heads")
      ->capture_default_str()
      ->group(step);

  auto* toggles = "Toggles (what changes memory)";
  app.add_option("--device", f.device,
                 "cpu: run; cuda: run on an NVIDIA GPU; meta: the same code without data, event for event")
      ->capture_default_str()
      ->group(toggles);
  app.add_option(
         "--dtype", f.dtype,
         "f32; bf16 or f16: matrix products in that type, parameters and norms in f32 (f16 with loss scaling)")
      ->capture_default_str()
      ->group(toggles);
  app.add_option("--residual", f.residual,
                 "With --dtype bf16 or f16: residual streams in f32, or low: in that type (half the bytes "
                 "between blocks, one rounding per branch)")
      ->capture_default_str()
      ->group(toggles);
  app.add_option("--checkpoint", f.checkpoint,
                 "What backward recomputes. none: nothing; selective: outputs of cheap ops (norms, gates, "
                 "activations, casts); "
                 "sublayer: each residual branch; block: each block")
      ->capture_default_str()
      ->group(toggles);
  app.add_option("--fuse", f.fuse, "none, all, or a list of: " + autograd::FusionSet::names())
      ->capture_default_str()
      ->group(toggles);
  app.add_option("--spec", f.spec, spec_help())->group(toggles);
  app.add_option("--memory-limit", f.memory_limit, "Bytes the arena may reserve, such as 512MiB; 0: no limit")
      ->capture_default_str()
      ->group(toggles);
  app.add_flag("--check-nan", f.check_nan,
               "Stop at the first op that makes NaN or infinity and name it (reads every output)")
      ->group(toggles);
  app.add_option("--threads", f.threads, "CPU threads; 0: all this process may use")
      ->capture_default_str()
      ->group(toggles);

  auto* training = "Training";
  app.add_option("--steps", f.steps, "Optimizer steps; 0: the preset's")->group(training);
  app.add_option("--accumulate", f.accumulate, "Micro-batches per optimizer step")
      ->capture_default_str()
      ->group(training);
  app.add_option("--optimizer", f.optimizer, "adamw or sgd (momentum 0.9)")
      ->capture_default_str()
      ->group(training);
  app.add_option("--lr", f.lr, "Peak learning rate; 0: the preset's, with --model 1e-5 (adapters 2e-4)")
      ->group(training);
  app.add_option("--lora", f.lora,
                 "qwen: train low-rank adapters only, such as r=8,alpha=16,targets=q_proj,v_proj (also k_proj, "
                 "o_proj, gate_proj, up_proj, down_proj)")
      ->group(training);
  app.add_option("--schedule", f.schedule, "After warm-up: constant, linear or cosine (to 0 at the last step)")
      ->capture_default_str()
      ->group(training);
  app.add_option("--warmup", f.warmup, "Warm-up steps; -1: a tenth of the steps")
      ->capture_default_str()
      ->group(training);
  app.add_option("--weight-decay", f.weight_decay, "Decoupled weight decay")
      ->capture_default_str()
      ->group(training);
  app.add_option("--clip", f.clip, "Largest gradient norm; 0: no clipping")
      ->capture_default_str()
      ->group(training);
  app.add_option("--seed", f.seed, "Seed of initial weights, data order and dropout")
      ->capture_default_str()
      ->group(training);
  app.add_flag("--no-dropout", f.no_dropout, "evoformer, pairformer, af3: train without dropout")
      ->group(training);
  if (!with_data) return;
  auto* data = "Data";
  app.add_option("--data", f.data,
                 "qwen: a text file or a folder of them; evoformer, pairformer: an alignment (a3m, Stockholm, "
                 "aligned FASTA, one row per line; plain or .gz)")
      ->group(data);
  app.add_option(
         "--tokenizer", f.tokenizer,
         "qwen: bytes, a tokenizer.json, or a folder with one; default: the --model folder's, else bytes")
      ->group(data);
  app.add_option("--cache", f.cache, "qwen: folder for the memory-mapped token file")
      ->capture_default_str()
      ->group(data);
}

profiler::RunConfig run_config(const models::RunOptions& options, const DeviceSpec& spec) {
  profiler::RunConfig c;
  for (const auto& [key, value] : options.describe()) c.set(key, value);
  if (spec.kind == DeviceKind::cuda) {
    c.set("compute capability",
          fmt::format("{}.{}", spec.compute_capability / 10, spec.compute_capability % 10));
    c.set("multiprocessors", std::to_string(spec.multiprocessors));
  } else {
    c.set("threads", std::to_string(spec.threads));
    c.set("isa", std::string(name_of(static_cast<IsaLevel>(spec.isa_level))));
  }
  c.set("spec", spec.name);
  return c;
}

}  // namespace reckon::cli
