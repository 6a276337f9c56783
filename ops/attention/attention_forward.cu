#include "ops/attention/attention_forward.cuh"

#include "ops/attention/attention_forward_fma.cuh"
#include "ops/attention/attention_gpu.h"

namespace reckon::ops::gpu {
namespace {

template <class T, int kWidth, int kTiles>
void forward_mma(KernelArgs& a, const AttentionProblem& p) {
  using Tiles = ForwardTiles<T, kWidth, kTiles>;
  const int query_tiles = (p.Lq + Tiles::kRows - 1) / Tiles::kRows;
  launch(a, 0, attention_forward_mma<T, kWidth, kTiles>, blocks_for(int64_t{p.B} * p.N * p.H * query_tiles, 1),
         kAttentionThreads, Tiles::kBytes, p, merged_heads(a.out[AttentionOutput::out]),
         a.out[AttentionOutput::statistics].as<float>(), query_tiles);
}

template <int kWidth>
void forward_fma(KernelArgs& a, const AttentionProblem& p) {
  const int query_tiles = (p.Lq + FmaTiles<kWidth>::kEdge - 1) / FmaTiles<kWidth>::kEdge;
  launch(a, 0, attention_forward_fma<kWidth>, blocks_for(int64_t{p.B} * p.N * p.H * query_tiles, 1),
         kFmaThreads, forward_fma_bytes<kWidth>(), p, merged_heads(a.out[AttentionOutput::out]),
         a.out[AttentionOutput::statistics].as<float>(), query_tiles);
}

}  // namespace

void attention_gpu(KernelArgs& a) {
  using In = AttentionInput;
  const TensorArg& q = a.in[In::q];
  const AttentionProblem p = attention_problem(q, a.in[In::k], a.in[In::v], a.in[In::key_mask], a.in[In::bias],
                                               a.as<AttentionAttrs>());
  const bool tiles = takes_tiles(p.q, p.k, p.v, merged_heads(a.out[AttentionOutput::out]));
  with_width(p.D, [&](auto width) {
    constexpr int kWidth = decltype(width)::value;
    with_type(tiles ? q.dtype : DType::f32, [&](auto zero) {
      using T = decltype(zero);
      if constexpr (std::is_same_v<T, float>)
        forward_fma<kWidth>(a, p);
      else
        with_tiles<kWidth <= 128>(int64_t{p.B} * p.N * p.H, p.Lq,
                                  [&](auto number) { forward_mma<T, kWidth, decltype(number)::value>(a, p); });
    });
  });
}

}  // namespace reckon::ops::gpu
