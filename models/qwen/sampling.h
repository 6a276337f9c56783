// The choice of the next token from its logits. Pure host arithmetic: the same logits, options and draw give
// the same token on every machine. Called by the decoder.
#pragma once

#include <cstdint>
#include <span>

namespace reckon::models {

struct SamplingOptions {
  double temperature = 0;  // 0: always the largest logit (greedy); else logits are divided by it
  int64_t top_k = 0;       // only the k largest logits; 0: all
  double top_p = 1;        // only the fewest tokens whose probabilities reach p (nucleus); 1: all
  uint64_t seed = 1;

  void validate() const;  // Error on values that mean nothing
};

// Index of the chosen logit. Order of the filters: temperature, top_k, top_p. Ties go to the smaller index.
// `draw` in (0, 1) picks by inverse cumulative probability over the tokens in descending order; greedy ignores
// it. Error when a logit is NaN.
int64_t choose_token(std::span<const float> logits, const SamplingOptions& options, double draw);

// The draw of sequence `row` at token `position`: a pure function of the seed.
double sampling_draw(uint64_t seed, int64_t row, int64_t position);

}  // namespace reckon::models
