// The Evoformer family: AlphaFold 2's stack, trained on masked residues of an alignment.
#include "models/train/family.h"

#include "models/evoformer/config.h"
#include "runtime/core/format.h"

namespace reckon::models {

MakeTask make_evoformer_task;  // task.cpp

namespace {

StepSizes step_sizes(const std::string& preset) {
  StepSizes s{.seq = 256, .rows = 128, .steps = 20, .lr = 1e-2};
  if (preset == "demo") s.seq = 32, s.rows = 32;
  if (preset == "tiny") s.seq = 10, s.rows = 6;
  return s;
}

// The loss reads the alignment only: of the last block, the outer product and the
// pair updates have no way to it.
int64_t unreached(const EvoformerConfig& c) {
  const int64_t m = c.c_m, z = c.c_z, n = c.c_hidden_opm;
  return 2 * m + 2 * (m * n + n) + n * n * z + z + c.pair_stack().n_parameters();
}

ParameterFormula parameters(const RunOptions& o) {
  const EvoformerConfig c = EvoformerConfig::preset(o.preset);
  return {.parts = fmt::format("; blocks {} by formula ({} per block)",
                               format_count(c.blocks * c.n_parameters_per_block()),
                               format_count(c.n_parameters_per_block())),
          .unreached = unreached(c),
          .notes = {"the Evoformer model's parameters are counted; the closed form covers its blocks only",
                    fmt::format("the loss reads the alignment only, so the last block's outer product and pair "
                                "updates ({} parameters) get no gradient and no moments",
                                format_count(unreached(c)))}};
}

}  // namespace

const Family& evoformer_family() {
  static const Family family{
      .name = "evoformer",
      .help = "AlphaFold 2 Evoformer, masked-MSA loss",
      .presets_help = "demo, tiny, alphafold2",
      .published = "alphafold2",
      .item = "residues",
      .seq_help = "residues of the crop",
      .rows_help = "alignment rows of the crop",
      .data_help = "an alignment (a3m, Stockholm, aligned FASTA, one row per line; plain or .gz)",
      .block_weights = true,
      .preset_names = EvoformerConfig::preset_names,
      .step_sizes = step_sizes,
      .make_task = make_evoformer_task,
      .parameters = parameters};
  return family;
}

}  // namespace reckon::models
