#include "ops/attention/attention_dk_dv.cuh"

#include "ops/attention/attention_backward_fma.cuh"

namespace reckon::ops::gpu {

void launch_dk_dv(KernelArgs& a, int index, const AttentionBackward& w) {
  const int64_t heads = int64_t{w.p.B} * w.p.N * w.p.Hkv;
  with_width(w.p.D, [&](auto width) {
    constexpr int kWidth = decltype(width)::value;
    with_type(w.arithmetic, [&](auto zero) {
      using T = decltype(zero);
      int tiles = 0;
      if constexpr (std::is_same_v<T, float>) {
        const unsigned blocks = attention_blocks(heads, w.p.Lk, FmaTiles<kWidth>::kEdge, &tiles);
        launch(a, index, attention_dk_dv_fma<kWidth>, blocks, kFmaThreads, backward_fma_bytes<kWidth>(4, true),
               w.p, w.g, w.statistics, w.delta, w.dk, w.dv, tiles);
      } else {
        const auto run = [&](auto number) {
          constexpr int kTiles = decltype(number)::value;
          using Tiles = KeyTiles<T, kWidth, kTiles>;
          const unsigned blocks = attention_blocks(heads * Tiles::kParts, w.p.Lk, Tiles::kKeys, &tiles);
          const size_t bytes =
              Tiles::kBytes + (w.p.bias.data && w.p.bias.dtype != DType::f32 ? Tiles::kBiasBytes : 0);
          launch(a, index, attention_dk_dv_mma<T, kWidth, kTiles>, blocks, kAttentionThreads, bytes, w.p, w.g,
                 w.statistics, w.delta, w.dk, w.dv, tiles);
        };
        with_tiles<kWidth <= 64>(heads, w.p.Lk, run);
      }
    });
  });
}

}  // namespace reckon::ops::gpu
