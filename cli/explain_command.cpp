// reckon explain: where bytes go, answered by formulas with a dry run of the engine beside them.
#include <algorithm>
#include <iostream>
#include <memory>

#include "calculators/model_memory.h"
#include "calculators/tensor_search.h"
#include "calculators/tensor_size.h"
#include "cli/commands.h"
#include "cli/typed_flags.h"
#include "models/train/family.h"
#include "profiler/file.h"
#include "runtime/core/error.h"
#include "studies/journal.h"

namespace reckon::cli {
namespace {

using namespace calculators;
using models::Family;
using models::RunOptions;

// What `model` and `oom` are asked; the family is found from the name of a model.
struct ModelFlags {
  RunOptions options;
  std::string model, json;
  ModelFlags() { options.preset.clear(); }
};

// "qwen: demo, ...; af3: ..."
std::string known_models() {
  std::string text = "A family, or a preset of one. ";
  for (const Family* f : models::all_families())
    text += fmt::format("{}{}: {}", f == models::all_families()[0] ? "" : "; ", f->name, f->presets_help);
  return text;
}

void add_model_flags(CLI::App& c, ModelFlags& f) {
  RunOptions& o = f.options;
  c.add_option("--preset", o.preset, "Sizes, when the model is named by its family: see reckon plan --help");
  add_dtype(c, "--dtype", o.dtype,
            "f32; bf16 or f16: matrix products in that type, parameters and norms in f32",
            {"f32", "bf16", "f16"});
  c.add_option("--batch", o.batch, "Sequences per step; 0: the preset's")->capture_default_str();
  c.add_option("--seq", o.seq, "Tokens, or residues; 0: the preset's")->capture_default_str();
  c.add_option("--rows", o.rows,
               models::families_that([](const Family& of) { return !of.rows_help.empty(); }, ", ") +
                   ", extra-msa: alignment rows; 0: the preset's")
      ->capture_default_str();
  add_checkpoint(c, o.checkpoint, "none, selective, sublayer or block");
  add_fuse(c, o.fuse);
  c.add_option("--json", f.json, "Also write everything to this file");
}

// "qwen2.5-7b", "alphafold2", or a family with a preset.
RunOptions resolve(const ModelFlags& f) {
  RunOptions o = f.options;
  std::vector<std::string> presets;
  const Family* family = nullptr;
  for (const Family* of : models::all_families()) {
    if (of->name == f.model) family = of;
    for (std::string& p : of->preset_names())
      if (std::find(presets.begin(), presets.end(), p) == presets.end()) presets.push_back(std::move(p));
  }
  if (family) {
    if (o.preset.empty()) o.preset = family->published;
  } else {
    const std::string families = models::families_that([](const Family&) { return true; }, ", ");
    RECKON_CHECK(o.preset.empty(), "--preset belongs to a family ({}), not to the model '{}'", families,
                 f.model);
    for (const Family* of : models::all_families()) {
      const auto names = of->preset_names();
      if (!family && std::find(names.begin(), names.end(), f.model) != names.end()) family = of;
    }
    RECKON_CHECK(family, "unknown model '{}': expected one of {}, or {} with --preset", f.model,
                 fmt::join(presets, ", "), families);
    o.preset = f.model;
  }
  o.family = family->name;
  o.device = DeviceKind::meta;
  RECKON_CHECK(o.batch >= 0 && o.seq >= 0 && o.rows >= 0,
               "--batch, --seq and --rows must be positive, got {}, {} and {}", o.batch, o.seq, o.rows);
  o.resolve();
  return o;
}

void write_json(const std::string& path, const nlohmann::ordered_json& j) {
  if (!path.empty()) profiler::write_file(path, j.dump(1) + "\n");
}

void add_tensor(CLI::App& explain) {
  struct Flags {
    std::string text, json;
    DType dtype = DType::f32;
  };
  auto f = std::make_shared<Flags>();
  CLI::App* c = explain.add_subcommand(
      "tensor",
      "Bytes of a tensor, what makes it grow, what it could be, which devices hold it, what would be smaller");
  c->add_option("TENSOR", f->text, "Extents and a type, such as \"32x501x501x128x128 f32\" or \"[4, 8] bf16\"")
      ->required();
  add_dtype(*c, "--dtype", f->dtype,
            "Type when the text names none: f32, bf16, f16, f64, i64, u8, f8e4m3, f8e5m2");
  c->add_option("--json", f->json, "Also write everything to this file");
  c->callback([f] {
    const TensorSize t = explain_tensor(parse_tensor(f->text, f->dtype));
    write_json(f->json, tensor_size_json(t));
    write_tensor_size(std::cout, t);
  });
}

void add_model(CLI::App& explain) {
  struct Flags : ModelFlags {
    std::string recipe;
    std::vector<int64_t> devices{8};
  };
  auto f = std::make_shared<Flags>();
  CLI::App* c = explain.add_subcommand("model",
                                       "Weights, gradients, optimizer, activations, K/V cache: on one device "
                                       "and per device of a group, formula beside dry run");
  c->add_option("MODEL", f->model, known_models())->required();
  add_model_flags(*c, *f);
  c->add_option("--recipe", f->recipe,
                "Bytes per parameter of the groups: f32 (4+4+0+8), mixed (2+2+4+8), pure-bf16 (2+2+0+4); "
                "default: f32, with bf16 or f16 mixed");
  c->add_option("--devices", f->devices, "Sizes of the groups, such as 2,8,64")
      ->delimiter(',')
      ->capture_default_str();
  c->callback([f] {
    ModelMemoryQuestion q;
    q.options = resolve(*f);
    q.recipe = !f->recipe.empty() ? f->recipe : q.options.dtype == DType::f32 ? "f32" : "mixed";
    q.devices = f->devices;
    const ModelMemory m = explain_model(q, DeviceSpec::this_machine());
    write_json(f->json, model_memory_json(m));
    write_model_memory(std::cout, m);
  });
}

// A recorded run, and what its extents are called.
struct NamedRun {
  Recording run;
  std::vector<std::pair<std::string, int64_t>> names;
};

NamedRun training_step(const ModelFlags& f) {
  const RunOptions o = resolve(f);
  return {record_training(o, DeviceSpec::this_machine()),
          {{models::family_named(o.family).item, o.seq}, {"rows", o.rows}, {"batch", o.batch}}};
}

NamedRun extra_msa(const RunOptions& o) {
  RECKON_CHECK(o.preset.empty(), "extra-msa has one size: leave out --preset");
  RECKON_CHECK(o.batch >= 0 && o.seq >= 0 && o.rows >= 0,
               "--batch, --seq and --rows must be positive, got {}, {} and {}", o.batch, o.seq, o.rows);
  ExtraMsaQuestion q;
  if (o.batch) q.batch = o.batch;
  if (o.rows) q.rows = o.rows;
  if (o.seq) q.residues = o.seq;
  q.dtype = o.dtype;
  q.checkpoint = o.checkpoint;
  q.fuse = o.fuse;
  return {record_extra_msa(q, DeviceSpec::this_machine()),
          {{"rows", q.rows},
           {"residues", q.residues},
           {"heads", 8},
           {"batch", q.batch},
           {"c_m", 64},
           {"c_z", 128}}};
}

void add_oom(CLI::App& explain) {
  struct Flags : ModelFlags {
    std::string size;
    double tolerance = 0;
    int top = 12;
  };
  auto f = std::make_shared<Flags>();
  CLI::App* c = explain.add_subcommand("oom",
                                       "Which tensor of which op has the size in an out-of-memory message: "
                                       "every allocation of a dry run is looked at");
  c->add_option("SIZE", f->size, "As the message prints it, such as \"4.50 GiB\": matches what rounds to it")
      ->required();
  c->add_option("--model", f->model, known_models() + "; or extra-msa (AlphaFold 2's extra-MSA stack)")
      ->required();
  add_model_flags(*c, *f);
  c->add_option("--tolerance", f->tolerance, "Also sizes that differ by this many percent")
      ->capture_default_str();
  c->add_option("--top", f->top, "Rows to show")->capture_default_str();
  c->callback([f] {
    const WrittenBytes wanted = parse_written_bytes(f->size, "SIZE");
    RECKON_CHECK(f->tolerance >= 0 && f->tolerance < 100,
                 "--tolerance must be at least 0 and below 100 percent, got {}", f->tolerance);
    RECKON_CHECK(f->top >= 1, "--top must be at least 1, got {}", f->top);
    const auto [run, names] = f->model == "extra-msa" ? extra_msa(f->options) : training_step(*f);
    const TensorSearch s = search_tensors(run, wanted, f->tolerance / 100);
    write_json(f->json, tensor_search_json(s));
    write_tensor_search(std::cout, s, names, f->top);
  });
}

void add_journal(CLI::App& explain) {
  struct Flags {
    int64_t tokens = 48, channels = 32;
    std::string json;
  };
  auto f = std::make_shared<Flags>();
  CLI::App* c = explain.add_subcommand("journal",
                                       "A gene-expression transformer's memory journal recomputed, its claims "
                                       "corrected, and its remedy run: predicted bytes against measured");
  c->add_option("--tokens", f->tokens, "Tokens r of the run on this machine")->capture_default_str();
  c->add_option("--channels", f->channels, "Channels c of the run on this machine")->capture_default_str();
  c->add_option("--json", f->json, "Also write everything to this file");
  c->callback([f] {
    const Journal j = explain_journal(f->tokens, f->channels, DeviceSpec::this_machine());
    write_json(f->json, journal_json(j));
    write_journal(std::cout, j);
  });
}

}  // namespace

void add_explain(CLI::App& app) {
  CLI::App* c = app.add_subcommand(
      "explain",
      "Where bytes go: of a tensor, of a model, of an out-of-memory message, of a published memory journal");
  c->require_subcommand(1);
  add_tensor(*c);
  add_model(*c);
  add_oom(*c);
  add_journal(*c);
}

}  // namespace reckon::cli
