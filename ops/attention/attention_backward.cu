#include "ops/attention/attention_backward.cuh"

#include "ops/attention/attention_gpu.h"
#include "ops/attention/attention_rows.cuh"

namespace reckon::ops::gpu {

void attention_backward_gpu(KernelArgs& a) {
  const auto& attrs = a.as<AttentionBackwardAttrs>();
  using In = AttentionBackwardInput;
  const TensorArg &g = a.in[In::dout], &q = a.in[In::q], &k = a.in[In::k], &bias = a.in[In::bias],
                  &o = a.in[In::out];
  AttentionBackward w;
  w.p = attention_problem(q, k, a.in[In::v], a.in[In::key_mask], bias, attrs);
  w.g = merged_heads(g), w.statistics = a.in[In::statistics].as<float>();
  int out = 0, workspace = 0, index = 0;
  if (attrs.wants_q) w.dq = ordered_heads(a.out[out++], attrs.q_axes);
  if (attrs.wants_k) w.dk = ordered_heads(a.out[out++], attrs.k_axes);
  if (attrs.wants_v) w.dv = ordered_heads(a.out[out++], attrs.v_axes);
  const auto fits = [&](const Heads& x) { return !x.data || takes_tiles(x); };
  if (takes_tiles(w.p.q, w.p.k, w.p.v, w.g) && fits(w.dq) && fits(w.dk) && fits(w.dv)) w.arithmetic = q.dtype;

  if (attrs.wants_scores()) {
    float* const delta = reinterpret_cast<float*>(a.workspace[workspace++]);
    unsigned lanes = 1;
    while (lanes < 32 && lanes * 8 < static_cast<unsigned>(w.p.D)) lanes *= 2;
    const int64_t rows = int64_t{w.p.B} * w.p.N * w.p.Lq * w.p.H;
    launch(a, index++, attention_row_sums, blocks_for(rows, kRowsThreads / lanes), kRowsThreads, 0, elements(g),
           elements(o), delta, rows, w.p.H, w.p.Lq, w.p.D, lanes,
           takes_fours(g, w.p.D) && takes_fours(o, w.p.D));
    w.delta = delta;
  }
  if (attrs.wants_k || attrs.wants_v) launch_dk_dv(a, index++, w);
  bool shared = false;
  if (attrs.wants_bias) {
    const TensorArg& dbias = a.out[out];
    const AttentionShape s = attention_shape(q, k, attrs.causal);
    shared = attention_bias_sharers(s, bias.shape[0], bias.shape[1]) > 1;
    w.dbias = heads(dbias), w.bias_size = dbias.numel();
    w.shared_bias.own_b = static_cast<int>(bias.shape[0]),
    w.shared_bias.own_n = static_cast<int>(bias.shape[1]);
    w.shared_bias.ranges = static_cast<int>(attention_bias_ranges(s, bias.shape[0], bias.shape[1]));
    if (shared && w.shared_bias.ranges > 1) w.partial = reinterpret_cast<float*>(a.workspace[workspace++]);
  }
  if (attrs.wants_q || (attrs.wants_bias && !shared)) launch_dq(a, index++, w, attrs.wants_bias && !shared);
  if (!shared) return;
  launch_dbias(a, index++, w);
  if (!w.partial) return;
  const TensorArg& dbias = a.out[out];
  const bool fours = takes_fours(dbias, w.bias_size);
  launch(a, index, attention_sum_ranges, blocks_for(w.bias_size, kRowsThreads * (fours ? 4 : 1)), kRowsThreads,
         0, w.partial, elements(dbias), w.bias_size, w.shared_bias.ranges, fours);
}

}  // namespace reckon::ops::gpu
