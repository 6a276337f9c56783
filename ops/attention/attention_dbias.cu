#include "ops/attention/attention_dbias.cuh"

#include "ops/attention/attention_backward_fma.cuh"

namespace reckon::ops::gpu {

void launch_dbias(KernelArgs& a, int index, const AttentionBackward& w) {
  Heads to = w.dbias;
  if (w.partial) to.data = w.partial, to.dtype = DType::f32;
  with_width(w.p.D, [&](auto width) {
    constexpr int kWidth = decltype(width)::value;
    with_type(w.arithmetic, [&](auto zero) {
      using T = decltype(zero);
      const auto run = [&](auto kernel, int edge, int threads, size_t bytes) {
        SharedBias shared = w.shared_bias;
        shared.query_tiles = (w.p.Lq + edge - 1) / edge, shared.key_tiles = (w.p.Lk + edge - 1) / edge;
        const int64_t blocks = int64_t{shared.ranges} * shared.own_b * shared.own_n * w.p.H *
                               shared.query_tiles * shared.key_tiles;
        launch(a, index, kernel, blocks_for(blocks, 1), threads, bytes, w.p, w.g, w.statistics, w.delta, to,
               w.bias_size, shared);
      };
      if constexpr (std::is_same_v<T, float>)
        run(attention_dbias_fma<kWidth>, FmaTiles<kWidth>::kEdge, kFmaThreads,
            backward_fma_bytes<kWidth>(4, false));
      else
        run(attention_dbias_mma<T, kWidth>, BiasTiles<T, kWidth>::kEdge, kAttentionThreads,
            BiasTiles<T, kWidth>::kBytes);
    });
  });
}

}  // namespace reckon::ops::gpu
