// The Qwen family: decoders trained on text.
#include "models/train/family.h"

#include <filesystem>

#include "models/qwen/folder.h"
#include "models/qwen/memory.h"
#include "models/qwen/options.h"
#include "runtime/core/format.h"

namespace reckon::models {

MakeTask make_qwen_task;  // task.cpp

namespace {

StepSizes step_sizes(const std::string& preset) {
  StepSizes s{.batch = 1, .seq = 2048, .steps = 60, .lr = 3e-3};
  if (preset == "demo") s.batch = 8, s.seq = 128;
  if (preset == "tiny" || preset == "tiny3") s.batch = 2, s.seq = 16;
  return s;
}

// Trained weights move in smaller steps than fresh ones.
constexpr double kLrOfFolder = 1e-5, kLrOfAdapters = 2e-4;

void resolve(RunOptions& o) {
  auto& own = o.own<QwenOptions>();
  const bool folder = !own.model_dir.empty();
  RECKON_CHECK(!folder || own.config.empty(), "--model brings its own config.json: leave out --config");
  if (own.tokenizer.empty()) own.tokenizer = folder ? own.model_dir : "bytes";
  if (own.lora) own.lora->seed = o.seed;
  if (folder && o.lr == 0) o.lr = own.lora ? kLrOfAdapters : kLrOfFolder;
  if (folder)
    o.preset = own.model_dir;
  else if (own.sizes)
    o.preset = own.sizes->name;
  else if (!own.config.empty())
    o.preset = own.config;
}

ParameterFormula parameters(const RunOptions& o) {
  const QwenConfig c = qwen_config(o);
  return {.all = c.n_parameters(),
          .parts = fmt::format("; {} per layer", format_count(c.n_parameters_per_layer()))};
}

std::vector<FamilySetting> settings() {
  FamilySetting config = setting("--config", &QwenOptions::config,
                                 "A Hugging Face config.json, or a preset's name; wins over --preset");
  config.set = read_config_flag;
  FamilySetting model =
      setting("--model", &QwenOptions::model_dir,
              "A Hugging Face folder (config.json, *.safetensors, tokenizer): sizes and initial weights");
  model.excludes = {"--preset", "--config"};
  FamilySetting lora{
      .flag = "--lora",
      .help =
          "Train low-rank adapters only, such as r=8,alpha=16,targets=q_proj,v_proj (also k_proj, o_proj, "
          "gate_proj, up_proj, down_proj)",
      .set = [](RunOptions& o,
                const std::string& text) { o.own<QwenOptions>().lora = LoraOptions::parse(text); },
      .show =
          [](const RunOptions& o) {
            const auto& lora = o.own<QwenOptions>().lora;
            return lora ? lora->to_string() : std::string();
          },
      .group = kTrainingGroup};
  FamilySetting tokenizer =
      setting("--tokenizer", &QwenOptions::tokenizer,
              "bytes, a tokenizer.json, or a folder with one; default: the --model folder's, else bytes");
  FamilySetting cache = setting("--cache", &QwenOptions::cache_dir, "Folder for the memory-mapped token file");
  tokenizer.group = cache.group = kDataGroup;
  for (FamilySetting* s : {&config, &model, &tokenizer, &cache}) s->listed = false;
  return {config, model, lora, tokenizer, cache};
}

}  // namespace

void read_config_flag(RunOptions& o, const std::string& text) {
  const bool file = text.ends_with(".json") || std::filesystem::exists(text);
  (file ? o.own<QwenOptions>().config : o.preset) = text;
}

QwenConfig qwen_config(const RunOptions& o) {
  const auto& own = o.own<QwenOptions>();
  if (!own.model_dir.empty()) return read_folder_config(own.model_dir);
  if (own.sizes) return *own.sizes;
  return own.config.empty() ? QwenConfig::preset(o.preset) : QwenConfig::from_json_file(own.config);
}

const Family& qwen_family() {
  static const Family family{
      .name = "qwen",
      .help = "Qwen2/2.5/3 decoder, next-token loss",
      .presets_help = "demo, tiny, tiny3, qwen2.5-0.5b ... qwen2.5-72b, qwen3-0.6b ... qwen3-32b",
      .published = "qwen2.5-0.5b",
      .item = "tokens",
      .seq_help = "tokens per sequence",
      .data_help = "a text file or a folder of them",
      .dropout = false,
      .exports_folder = true,
      .commands = {"flops", "generate"},
      .settings = settings(),
      .preset_names = QwenConfig::preset_names,
      .step_sizes = step_sizes,
      .resolve = resolve,
      .make_task = make_qwen_task,
      .parameters = parameters,
      .decoder = qwen_decoder_forms()};
  return family;
}

}  // namespace reckon::models
