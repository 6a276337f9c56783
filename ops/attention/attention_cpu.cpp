#include "ops/attention/attention_backward_tiled.h"
#include "ops/attention/attention_tiled.h"

namespace reckon::ops {

namespace isa_amx {
void attention_amx(KernelArgs& a);
void attention_backward_amx(KernelArgs& a);
}  // namespace isa_amx

namespace RECKON_ISA {

// Processors with AMX take the kernels of level v4 otherwise.
void attention_cpu(KernelArgs& a) {
#if defined(__AVX512F__)
  using In = AttentionInput;
  if (attention_on_amx(a.isa_level, a.in[In::q].dtype, a.in[In::k].dtype, a.in[In::v].dtype))
    return isa_amx::attention_amx(a);
#endif
  attention_tiled<FloatTiles>(a);
}

void attention_backward_cpu(KernelArgs& a) {
#if defined(__AVX512F__)
  using In = AttentionBackwardInput;
  if (attention_on_amx(a.isa_level, a.in[In::dout].dtype, a.in[In::q].dtype, a.in[In::k].dtype,
                       a.in[In::v].dtype))
    return isa_amx::attention_backward_amx(a);
#endif
  attention_backward_tiled<FloatTiles>(a);
}

}  // namespace RECKON_ISA
}  // namespace reckon::ops
