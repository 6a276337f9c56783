// reckon explain: where bytes go, answered by formulas with a dry run of the engine beside them.
#include <algorithm>
#include <iostream>
#include <memory>

#include "calculators/model_memory.h"
#include "calculators/tensor_search.h"
#include "calculators/tensor_size.h"
#include "cli/commands.h"
#include "models/evoformer/config.h"
#include "models/pairformer/config.h"
#include "profiler/file.h"
#include "runtime/core/error.h"
#include "studies/journal.h"

namespace reckon::cli {
namespace {

using namespace calculators;
using models::Family;
using models::RunOptions;

constexpr const char* kModels =
    "qwen2.5-0.5b ... qwen2.5-72b, qwen3-0.6b ... qwen3-32b, alphafold2 (or evoformer), alphafold3 (or "
    "pairformer), af3";

struct ModelFlags {
  std::string model, preset, dtype = "f32", checkpoint = "none", fuse = "none", json;
  int64_t batch = 0, seq = 0, rows = 0;
};

void add_model_flags(CLI::App& c, ModelFlags& f) {
  c.add_option("--preset", f.preset, "Sizes, when the model is named by its family: see reckon plan --help");
  c.add_option("--dtype", f.dtype,
               "f32; bf16 or f16: matrix products in that type, parameters and norms in f32")
      ->capture_default_str();
  c.add_option("--batch", f.batch, "Sequences per step; 0: the preset's")->capture_default_str();
  c.add_option("--seq", f.seq, "Tokens, or residues; 0: the preset's")->capture_default_str();
  c.add_option("--rows", f.rows, "evoformer, af3, extra-msa: alignment rows; 0: the preset's")
      ->capture_default_str();
  c.add_option("--checkpoint", f.checkpoint, "none, selective, sublayer or block")->capture_default_str();
  c.add_option("--fuse", f.fuse, "none, all, or a list of: " + autograd::FusionSet::names())
      ->capture_default_str();
  c.add_option("--json", f.json, "Also write everything to this file");
}

// "qwen2.5-7b", "alphafold2", or a family with a preset.
RunOptions resolve(const ModelFlags& f) {
  RunOptions o;
  const auto names = models::QwenConfig::preset_names();
  const auto is_family = [&](std::string_view name) {
    return name == "qwen" || name == "evoformer" || name == "pairformer" || name == "af3";
  };
  if (is_family(f.model)) {
    o.family = models::family_from_name(f.model);
    o.preset = !f.preset.empty()               ? f.preset
               : o.family == Family::qwen      ? "qwen2.5-0.5b"
               : o.family == Family::evoformer ? "alphafold2"
               : o.family == Family::af3       ? "af3"
                                               : "alphafold3";
  } else {
    RECKON_CHECK(f.preset.empty(),
                 "--preset belongs to a family (qwen, evoformer, pairformer, af3), not to the model '{}'",
                 f.model);
    if (f.model == "alphafold2")
      o.family = Family::evoformer;
    else if (f.model == "alphafold3")
      o.family = Family::pairformer;
    else
      RECKON_CHECK(std::find(names.begin(), names.end(), f.model) != names.end(),
                   "unknown model '{}': expected one of {}, alphafold2, alphafold3, or qwen, evoformer, "
                   "pairformer, af3 with --preset",
                   f.model, fmt::join(names, ", "));
    o.preset = f.model;
  }
  RECKON_CHECK(f.batch >= 0 && f.seq >= 0 && f.rows >= 0,
               "--batch, --seq and --rows must be positive, got {}, {} and {}", f.batch, f.seq, f.rows);
  o.device = DeviceKind::meta;
  o.dtype = dtype_from_name(f.dtype);
  o.checkpoint = autograd::checkpoint_policy_from_name(f.checkpoint);
  o.fuse = autograd::FusionSet::parse(f.fuse);
  o.batch = f.batch;
  o.seq = f.seq;
  o.rows = f.rows;
  o.resolve();
  return o;
}

void write_json(const std::string& path, const nlohmann::ordered_json& j) {
  if (!path.empty()) profiler::write_file(path, j.dump(1) + "\n");
}

void add_tensor(CLI::App& explain) {
  struct Flags {
    std::string text, dtype = "f32", json;
  };
  auto f = std::make_shared<Flags>();
  CLI::App* c = explain.add_subcommand(
      "tensor",
      "Bytes of a tensor, what makes it grow, what it could be, which devices hold it, what would be smaller");
  c->add_option("TENSOR", f->text, "Extents and a type, such as \"32x501x501x128x128 f32\" or \"[4, 8] bf16\"")
      ->required();
  c->add_option("--dtype", f->dtype,
                "Type when the text names none: f32, bf16, f16, f64, i64, u8, f8e4m3, f8e5m2")
      ->capture_default_str();
  c->add_option("--json", f->json, "Also write everything to this file");
  c->callback([f] {
    const TensorSize t = explain_tensor(parse_tensor(f->text, dtype_from_name(f->dtype)));
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
  c->add_option("MODEL", f->model, kModels)->required();
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
  c->add_option("--model", f->model, std::string(kModels) + ", or extra-msa (AlphaFold 2's extra-MSA stack)")
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
    Recording run;
    std::vector<std::pair<std::string, int64_t>> names;
    if (f->model == "extra-msa") {
      RECKON_CHECK(f->preset.empty(), "extra-msa has one size: leave out --preset");
      RECKON_CHECK(f->batch >= 0 && f->seq >= 0 && f->rows >= 0,
                   "--batch, --seq and --rows must be positive, got {}, {} and {}", f->batch, f->seq, f->rows);
      ExtraMsaQuestion q;
      if (f->batch) q.batch = f->batch;
      if (f->rows) q.rows = f->rows;
      if (f->seq) q.residues = f->seq;
      q.dtype = dtype_from_name(f->dtype);
      RECKON_CHECK(q.dtype == DType::f32 || q.dtype == DType::bf16 || q.dtype == DType::f16,
                   "--dtype must be f32, bf16 or f16, got {}", f->dtype);
      q.checkpoint = autograd::checkpoint_policy_from_name(f->checkpoint);
      q.fuse = autograd::FusionSet::parse(f->fuse);
      run = record_extra_msa(q, DeviceSpec::this_machine());
      names = {{"rows", q.rows}, {"residues", q.residues}, {"heads", 8}, {"batch", q.batch}, {"c_m", 64},
               {"c_z", 128}};
    } else {
      const RunOptions o = resolve(*f);
      run = record_training(o, DeviceSpec::this_machine());
      names = {{o.family == Family::qwen ? "tokens" : "residues", o.seq}, {"rows", o.rows}, {"batch", o.batch}};
    }
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
