// Attention of bf16 operands with its products on AMX tiles.
#include "ops/attention/attention_amx_tiles.h"
#include "ops/attention/attention_backward_tiled.h"
#include "ops/attention/attention_tiled.h"

namespace reckon::ops::RECKON_ISA {

void attention_amx(KernelArgs& a) { attention_tiled<AmxTiles>(a); }
void attention_backward_amx(KernelArgs& a) { attention_backward_tiled<AmxTiles>(a); }

}  // namespace reckon::ops::RECKON_ISA
