#include "ops/attention/attention_dq.cuh"

#include "ops/attention/attention_backward_fma.cuh"

namespace reckon::ops::gpu {

void launch_dq(KernelArgs& a, int index, const AttentionBackward& w, bool wants_bias) {
  const int64_t heads = int64_t{w.p.B} * w.p.N * w.p.H;
  const Heads dbias = wants_bias ? w.dbias : Heads{};
  with_width(w.p.D, [&](auto width) {
    constexpr int kWidth = decltype(width)::value;
    with_type(w.arithmetic, [&](auto zero) {
      using T = decltype(zero);
      int tiles = 0;
      if constexpr (std::is_same_v<T, float>) {
        const unsigned blocks = attention_blocks(heads, w.p.Lq, FmaTiles<kWidth>::kEdge, &tiles);
        launch(a, index, attention_dq_fma<kWidth>, blocks, kFmaThreads, backward_fma_bytes<kWidth>(4, true),
               w.p, w.g, w.statistics, w.delta, w.dq, dbias, tiles);
      } else {
        with_tiles<kWidth <= 64>(heads, w.p.Lq, [&](auto number) {
          constexpr int kTiles = decltype(number)::value;
          using Tiles = QueryTiles<T, kWidth, kTiles>;
          const unsigned blocks = attention_blocks(heads, w.p.Lq, Tiles::kQueries, &tiles);
          launch(a, index, attention_dq_mma<T, kWidth, kTiles>, blocks, kAttentionThreads, Tiles::kBytes, w.p,
                 w.g, w.statistics, w.delta, w.dq, dbias, tiles);
        });
      }
    });
  });
}

}  // namespace reckon::ops::gpu
