// reckon generate: continues a prompt from a key/value cache, with its books.
#include <chrono>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "autograd/fusion.h"
#include "cli/commands.h"
#include "cli/devices.h"
#include "cli/run_flags.h"
#include "cli/typed_flags.h"
#include "models/data/files.h"
#include "models/qwen/decoder.h"
#include "models/qwen/folder.h"
#include "models/qwen/options.h"
#include "models/train/family.h"
#include "profiler/json.h"
#include "profiler/ledger.h"
#include "profiler/report.h"
#include "runtime/core/format.h"

namespace reckon::cli {
namespace {

constexpr double kQuietSeconds = 2;

struct GenerateFlags {
  models::RunOptions options;  // model, device, dtype, fusion and seed
  MachineFlags machine;
  std::string prompt, prompt_file, prompt_ids, json, report = "summary";
  int64_t max_new_tokens = 64, samples = 1, top_k = 0, prompt_tokens = 0;
  double temperature = 0, top_p = 1;
  bool chat = false, ignore_stop = false;

  const std::string& folder() const { return options.own<models::QwenOptions>().model_dir; }
  bool on_meta() const { return options.device == DeviceKind::meta; }
};

std::string read_prompt_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  RECKON_CHECK(in.good(), "cannot read the prompt file '{}'", path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<int64_t> parse_ids(const std::string& text) {
  std::vector<int64_t> ids;
  std::stringstream in(text);
  for (std::string item; std::getline(in, item, ',');) {
    size_t used = 0;
    int64_t id = -1;
    try {
      id = std::stoll(item, &used);
    } catch (const std::exception&) {
    }
    RECKON_CHECK(used == item.size() && id >= 0, "--prompt-ids '{}': expected ids such as 12,7,300, got '{}'",
                 text, item);
    ids.push_back(id);
  }
  return ids;
}

// How much of `bytes` from `begin` on is whole UTF-8 characters: a token may end inside one.
size_t whole_characters(const std::string& bytes, size_t begin) {
  size_t last = bytes.size();
  while (last > begin && bytes.size() - last < 3 &&
         (static_cast<unsigned char>(bytes[last - 1]) & 0xC0) == 0x80)
    --last;
  if (last == begin) return bytes.size();
  const auto lead = static_cast<unsigned char>(bytes[last - 1]);
  const size_t needs = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
  return bytes.size() - (last - 1) < needs ? last - 1 : bytes.size();
}

// For a terminal: bytes that are no UTF-8 become the replacement character.
std::string displayed(std::string text) {
  for (size_t at = data::find_invalid_utf8(text); at != std::string::npos; at = data::find_invalid_utf8(text))
    text.replace(at, 1, "\xEF\xBF\xBD");
  return text;
}

// The text of one sequence while it grows.
class LiveText {
 public:
  explicit LiveText(const data::Tokenizer* tokenizer) : tokenizer_(tokenizer) {}

  void add(int64_t id) {
    ids_.push_back(id);
    if (!tokenizer_) return fmt::print("{}{}", ids_.size() > 1 ? "," : "", id);
    const std::string text = tokenizer_->decode(ids_, true);
    const size_t end = whole_characters(text, shown_);
    fmt::print("{}", displayed(text.substr(shown_, end - shown_)));
    shown_ = end;
    std::fflush(stdout);
  }
  void finish() const {
    if (tokenizer_) {
      const std::string text = tokenizer_->decode(ids_, true);
      fmt::print("{}", displayed(text.substr(shown_)));
    }
    fmt::print("\n");
  }

 private:
  const data::Tokenizer* tokenizer_;
  std::vector<int64_t> ids_;
  size_t shown_ = 0;
};

struct Prompt {
  std::optional<data::Tokenizer> tokenizer;
  std::vector<int64_t> ids;
};

Prompt make_prompt(const GenerateFlags& f) {
  const int given = !f.prompt.empty() + !f.prompt_file.empty() + !f.prompt_ids.empty() + (f.prompt_tokens > 0);
  RECKON_CHECK(
      given == 1,
      "generation needs one prompt: give one of --prompt TEXT, --prompt-file FILE, --prompt-ids LIST{}",
      f.on_meta() ? ", --prompt-tokens N" : "");
  RECKON_CHECK(!f.chat || !f.prompt.empty() || !f.prompt_file.empty(),
               "--chat wraps a text: give --prompt or --prompt-file");
  Prompt p;
  if (f.prompt_tokens > 0) {
    RECKON_CHECK(f.on_meta(), "--prompt-tokens stands for a prompt without text and needs --device meta");
    p.ids.assign(static_cast<size_t>(f.prompt_tokens), 0);
    return p;
  }
  const std::string& given_tokenizer = f.options.own<models::QwenOptions>().tokenizer;
  const bool folder_has = !f.folder().empty() && models::folder_has_tokenizer(f.folder());
  const std::string where = !given_tokenizer.empty() ? given_tokenizer : folder_has ? f.folder() : "bytes";
  p.tokenizer = models::open_tokenizer(where);
  if (!f.prompt_ids.empty()) {
    p.ids = parse_ids(f.prompt_ids);
    return p;
  }
  std::string text = f.prompt_file.empty() ? f.prompt : read_prompt_file(f.prompt_file);
  if (f.chat) text = "<|im_start|>user\n" + text + "<|im_end|>\n<|im_start|>assistant\n";
  p.ids = p.tokenizer->encode(text);
  RECKON_CHECK(!f.chat || p.tokenizer->encode("<|im_start|>").size() == 1,
               "--chat needs a tokenizer with <|im_start|> and <|im_end|>, '{}' has none", where);
  return p;
}

models::DecodeOptions decode_options(const GenerateFlags& f, const Prompt& prompt) {
  models::DecodeOptions o;
  o.max_new_tokens = f.max_new_tokens;
  o.sampling = {f.temperature, f.top_k, f.top_p, f.options.seed};
  o.cache_dtype = f.options.dtype;
  if (prompt.tokenizer) o.n_ids = prompt.tokenizer->vocab_size();
  if (f.ignore_stop) return o;
  if (!f.folder().empty()) o.stop_ids = models::folder_stop_ids(f.folder());
  if (o.stop_ids.empty() && prompt.tokenizer && prompt.tokenizer->has_end_of_text())
    o.stop_ids = {prompt.tokenizer->end_of_text()};
  return o;
}

void print_rates(const models::DecodeResult& r, const models::QwenConfig& c, const GenerateFlags& f,
                 int64_t n_prompt, DType dtype, bool executes) {
  if (executes) {
    fmt::print("prompt: {} tokens in {} (time to the first token)\n", format_count(n_prompt * f.samples),
               format_seconds(r.prefill_seconds));
    if (r.n_decode_steps > 0)
      fmt::print("decoding: {} steps of {} sequence{}, {} per step, {:.1f} tokens/s\n", r.n_decode_steps,
                 f.samples, f.samples == 1 ? "" : "s",
                 format_seconds(r.decode_seconds / static_cast<double>(r.n_decode_steps)),
                 static_cast<double>(r.n_decode_steps * f.samples) / r.decode_seconds);
  }
  fmt::print(
      "key/value cache: 2 x {} layers x {} sequence{} x {} heads x {} wide x {} tokens x {} B = {} B ({})\n",
      c.layers, f.samples, f.samples == 1 ? "" : "s", c.kv_heads, c.head_dim, r.cache_capacity, size_of(dtype),
      format_count(r.cache_bytes), format_bytes(static_cast<double>(r.cache_bytes)));
}

void write_json(const GenerateFlags& f, const profiler::RunRecord& record, const Prompt& prompt,
                const models::DecodeResult& r) {
  nlohmann::ordered_json j;
  j["reckon_generate_schema"] = 1;
  j["prompt_ids"] = prompt.ids;
  j["sequences"] = nlohmann::ordered_json::array();
  for (const auto& ids : r.new_ids) {
    nlohmann::ordered_json s{{"ids", ids}};
    if (prompt.tokenizer) s["text"] = displayed(prompt.tokenizer->decode(ids, true));
    j["sequences"].push_back(std::move(s));
  }
  j["kv_cache"] = {{"capacity_tokens", r.cache_capacity}, {"bytes", r.cache_bytes}};
  j["seconds"] = {{"prompt", r.prefill_seconds}, {"decoding", r.decode_seconds}};
  j["decode_steps"] = r.n_decode_steps;
  j["run"] = nlohmann::ordered_json::parse(profiler::to_json(record));
  std::ofstream out(f.json, std::ios::trunc);
  out << j.dump() << "\n";
  out.close();
  RECKON_CHECK(out.good(), "could not write '{}'", f.json);
}

void check_flags(const GenerateFlags& f) {
  RECKON_CHECK(
      !f.folder().empty() || f.on_meta(),
      "generation needs trained weights: give --model FOLDER (or --device meta to count without them)");
  if (f.json.empty()) return;
  std::ofstream probe(f.json, std::ios::app);
  RECKON_CHECK(probe.good(), "cannot write '{}': its folder must exist and be writable", f.json);
}

void run(GenerateFlags f) {
  fall_back_to_cpu(f.options.device);
  check_flags(f);
  const models::RunOptions& o = f.options;
  const DType dtype = o.dtype;
  const Prompt prompt = make_prompt(f);
  const models::DecodeOptions options = decode_options(f, prompt);
  options.sampling.validate();
  const models::QwenConfig config = models::qwen_config(o);

  const auto device = f.machine.make_device(o.device);
  profiler::Ledger ledger;
  device->add_sink(&ledger);
  profiler::RunRecord record;
  models::DecodeResult result;
  {
    const autograd::FusionScope fusions(o.fuse);
    const models::Qwen model(*device, config, o.seed, dtype);
    if (!f.folder().empty()) models::load_folder_weights(f.folder(), model);
    fmt::print("{}: {} parameters in {}; prompt of {} tokens, up to {} new ones\n\n", config.name,
               format_count(model.parameters().n_elements()), name_of(dtype),
               format_count(static_cast<int64_t>(prompt.ids.size())), format_count(f.max_new_tokens));
    std::fflush(stdout);
    LiveText text(prompt.tokenizer ? &*prompt.tokenizer : nullptr);
    const bool live = device->executes() && f.samples == 1;
    auto said = std::chrono::steady_clock::now();
    int64_t n = 0;
    result = models::decode(model, *device, prompt.ids, f.samples, options,
                            [&](std::span<const std::optional<int64_t>> ids) {
                              ++n;
                              if (live && ids[0]) return text.add(*ids[0]);
                              const auto now = std::chrono::steady_clock::now();
                              if (now - said < std::chrono::duration<double>(kQuietSeconds)) return;
                              said = now;
                              fmt::print(stderr, "{} of up to {} tokens\n", n, f.max_new_tokens);
                            });
    if (live) text.finish();
    record.process = profiler::measure_process(device->arena());
  }
  if (device->executes() && f.samples > 1)
    for (size_t i = 0; i < result.new_ids.size(); ++i)
      fmt::print("--- sequence {}\n{}\n", i + 1, displayed(prompt.tokenizer->decode(result.new_ids[i], true)));
  fmt::print("\n");
  print_rates(result, config, f, static_cast<int64_t>(prompt.ids.size()), dtype, device->executes());
  ledger.close();
  record.books = ledger.books();
  profiler::RunConfig& c = record.config;
  for (const auto& [key, value] : {std::pair<const char*, std::string>{"command", "generate qwen"},
                                   {"model", config.name},
                                   {"device", std::string(name_of(o.device))},
                                   {"dtype", std::string(name_of(dtype))},
                                   {"fuse", o.fuse.to_string()},
                                   {"prompt tokens", std::to_string(prompt.ids.size())},
                                   {"new tokens", std::to_string(f.max_new_tokens)},
                                   {"sequences", std::to_string(f.samples)},
                                   {"threads", std::to_string(device->spec().threads)},
                                   {"spec", device->spec().name}})
    c.set(key, value);
  fmt::print("\n");
  std::fflush(stdout);
  if (f.report == "full")
    profiler::write_report(std::cout, record);
  else if (f.report == "summary")
    profiler::write_summary(std::cout, record);
  if (!f.json.empty()) write_json(f, record, prompt, result);
}

}  // namespace

void add_generate(CLI::App& app) {
  auto f = std::make_shared<GenerateFlags>();
  f->options.family = "qwen";
  f->options.fuse = autograd::FusionSet::all();
  auto& own = f->options.own<models::QwenOptions>();
  CLI::App* c = app.add_subcommand(
      "generate",
      fmt::format(
          "Continue a prompt with a model ({}) from a key/value cache, with the books of every token",
          models::families_that([](const models::Family& of) { return models::has_command(of, "generate"); })));
  auto* model = "Model";
  auto* folder =
      c->add_option(
           "--model", own.model_dir,
           "Hugging Face folder (config.json, *.safetensors, tokenizer), such as train --export writes")
          ->group(model);
  c->add_option_function<std::string>(
       "--config", [f](const std::string& text) { models::read_config_flag(f->options, text); },
       "meta only: a config.json or a preset's name (qwen2.5-7b) in place of a folder")
      ->excludes(folder)
      ->group(model);
  c->add_option("--tokenizer", own.tokenizer,
                "bytes, a tokenizer.json, or a folder with one; default: the --model folder's, else bytes")
      ->group(model);
  add_dtype(*c, "--dtype", f->options.dtype, "f32 or bf16: weights, activations and cache", {"f32", "bf16"})
      ->group(model);
  auto* text = "Text";
  c->add_option("--prompt", f->prompt, "Text to continue")->group(text);
  c->add_option("--prompt-file", f->prompt_file, "File with the text to continue")->group(text);
  c->add_option("--prompt-ids", f->prompt_ids, "Token ids to continue, such as 12,7,300")->group(text);
  c->add_option("--prompt-tokens", f->prompt_tokens, "meta only: length of a prompt, in tokens")->group(text);
  c->add_flag("--chat", f->chat, "Wrap the text as a user's turn of a chat (<|im_start|>user ...)")
      ->group(text);
  c->add_option("--max-new-tokens", f->max_new_tokens, "Most tokens to add to each sequence")
      ->capture_default_str()
      ->group(text);
  c->add_option("--samples", f->samples, "Sequences to draw from the same prompt")
      ->capture_default_str()
      ->group(text);
  c->add_flag("--ignore-stop", f->ignore_stop, "Go on after an end-of-text token")->group(text);
  auto* sampling = "Choice of the next token";
  c->add_option("--temperature", f->temperature,
                "0: always the likeliest (greedy); 1: as the model says; higher: more random")
      ->capture_default_str()
      ->group(sampling);
  c->add_option("--top-k", f->top_k, "Only the k likeliest tokens; 0: all")
      ->capture_default_str()
      ->group(sampling);
  c->add_option("--top-p", f->top_p, "Only the likeliest tokens that together reach this probability; 1: all")
      ->capture_default_str()
      ->group(sampling);
  c->add_option("--seed", f->options.seed, "Seed of the random draws")->capture_default_str()->group(sampling);
  auto* machine = "Machine and output";
  add_device(*c, f->options.device, "cpu: run; meta: the same code without data, event for event")
      ->group(machine);
  add_fuse(*c, f->options.fuse)->group(machine);
  add_memory_limit(*c, f->machine.limits.memory_limit_bytes)->group(machine);
  add_spec_and_threads(*c, f->machine, machine);
  add_choice(*c, "--report", f->report, {"full", "summary", "none"}, "full, summary or none")->group(machine);
  c->add_option("--json", f->json, "File for ids, text and the whole ledger")->group(machine);
  c->callback([f] { run(*f); });
}

}  // namespace reckon::cli
