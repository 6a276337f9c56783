// What one training step of a Qwen decoder consists of, in numbers every counting convention is made from: once
// folded from the op calls of a recorded dry run, once from the config. Called by qwen_conventions.
// Letters: B batch, S sequence, T = B S, h hidden, A query heads, K key/value heads, D head
// width, I feed-forward, V vocabulary.
#pragma once

#include "calculators/dry_run.h"
#include "models/qwen/config.h"
#include "runtime/core/exact.h"

namespace reckon::calculators {

// One kind of matrix product over all layers, forward.
struct ProductWork {
  Exact flops;     // 2 m n k
  Exact elements;  // m n of the results
  Exact biases;    // additions of a bias
  friend bool operator==(const ProductWork&, const ProductWork&) = default;
};

struct QwenParts {
  ProductWork q, k, v, o, gate, up, down, head, scores, values;
  Exact rotated;                             // elements that the rotary embedding turns
  Exact score_rows;                          // rows the softmax runs over
  Exact silu, gated;                         // elements of silu, and of its product with up
  Exact norm_elements, norm_rows;            // the two norms of every layer
  Exact head_norm_elements, head_norm_rows;  // Qwen3: of q and k
  Exact final_norm_elements, final_norm_rows;
  Exact residuals;  // elements of residual sums
  Exact embedded;   // elements looked up
  // The whole step, matrix products only.
  Exact forward, backward, recompute;

  Exact projections() const { return q.flops + k.flops + v.flops + o.flops; }
  Exact attention() const { return scores.flops + values.flops; }
  Exact feed_forward() const { return gate.flops + up.flops + down.flops; }
  friend bool operator==(const QwenParts&, const QwenParts&) = default;
};

// Error unless the run is a plain one (nothing fused): fused ops hide their parts.
QwenParts recorded_parts(const Recording& run);
// `checkpoint_block`: the forward pass of the layers runs a second time.
QwenParts parts_by_formula(const models::QwenConfig& config, int64_t batch, int64_t seq, bool checkpoint_block);

}  // namespace reckon::calculators
