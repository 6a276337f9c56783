// The Pairformer family: AlphaFold 3's stack, trained on masked residues of one row
// from the profile of the others.
#include "models/train/family.h"

#include "models/pairformer/config.h"
#include "runtime/core/format.h"

namespace reckon::models {

MakeTask make_pairformer_task;  // task.cpp

namespace {

StepSizes step_sizes(const std::string& preset) {
  StepSizes s{.batch = 1, .seq = 384, .steps = 40, .lr = 3e-3};
  if (preset == "demo") s.batch = 4, s.seq = 32;
  if (preset == "tiny") s.batch = 2, s.seq = 10, s.lr = 1e-2;
  return s;
}

ParameterFormula parameters(const RunOptions& o) {
  const PairformerConfig c = PairformerConfig::preset(o.preset);
  return {.all = c.n_parameters(),
          .parts = fmt::format("; blocks {} ({} per block)", format_count(c.n_parameters_of_blocks()),
                               format_count(c.n_parameters_per_block()))};
}

}  // namespace

const Family& pairformer_family() {
  static const Family family{
      .name = "pairformer",
      .help = "AlphaFold 3 Pairformer, masked residues of one row from the profile of the others",
      .presets_help = "demo, tiny, alphafold3",
      .published = "alphafold3",
      .item = "residues",
      .seq_help = "residues of the crop",
      .data_help = "an alignment (a3m, Stockholm, aligned FASTA, one row per line; plain or .gz)",
      .block_weights = true,
      .preset_names = PairformerConfig::preset_names,
      .step_sizes = step_sizes,
      .make_task = make_pairformer_task,
      .parameters = parameters};
  return family;
}

}  // namespace reckon::models
