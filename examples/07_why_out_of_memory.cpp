// An out-of-memory error that says what asked, where, and who holds the rest.
#include "examples/show.h"
#include "models/evoformer/evoformer.h"

int main() {
  using namespace show;
  // One AlphaFold 2 block, 128 rows x 256 residues, on paper, in 1 GiB: it does not get past column attention.
  Device device(DeviceKind::meta, DeviceSpec::this_machine(), {.memory_limit_bytes = size_t{1} << 30});
  models::EvoformerConfig config = models::EvoformerConfig::preset("alphafold2");
  config.blocks = 1;
  try {
    const models::MaskedMsaModel model(device, config, 1);
    models::MsaTensors batch;
    const auto zeros = [&](const Shape& s, DType t) {
      return Tensor::empty(device, s, t, Category::input, "batch");
    };
    batch.msa = batch.targets = zeros({1, 128, 256}, DType::i64);
    batch.deletions = zeros({1, 128, 256, 2}, DType::f32);
    batch.residue_index = zeros({1, 256, 256}, DType::i64);
    batch.msa_mask = zeros({1, 128, 256}, DType::f32);
    batch.pair_mask = zeros({1, 256, 256}, DType::f32);
    PhaseScope phase(Phase::forward);
    const Tensor loss = model.loss(batch, true);
    fmt::print("it fits\n");
    return 1;
  } catch (const OutOfMemory& e) {
    fmt::print("{}\n", e.what());
  }
}
