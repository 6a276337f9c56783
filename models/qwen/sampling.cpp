#include "models/qwen/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "runtime/core/error.h"
#include "runtime/core/rng.h"

namespace reckon::models {

void SamplingOptions::validate() const {
  RECKON_CHECK(std::isfinite(temperature) && temperature >= 0,
               "temperature must be 0 (greedy) or a positive number, got {}", temperature);
  RECKON_CHECK(top_k >= 0, "top-k must be a positive number of tokens, or 0 for all, got {}", top_k);
  RECKON_CHECK(top_p > 0 && top_p <= 1, "top-p must be above 0 and at most 1, got {}", top_p);
  RECKON_CHECK(
      temperature > 0 || (top_k == 0 && top_p == 1),
      "top-k and top-p choose among random draws, and temperature 0 draws none: give a temperature above 0");
}

int64_t choose_token(std::span<const float> logits, const SamplingOptions& o, double draw) {
  RECKON_CHECK(!logits.empty(), "there are no logits to choose a token from");
  for (size_t i = 0; i < logits.size(); ++i)
    RECKON_CHECK(!std::isnan(logits[i]),
                 "the logit of token {} is NaN: the weights or the precision do not suit", i);
  if (o.temperature == 0) return std::max_element(logits.begin(), logits.end()) - logits.begin();

  std::vector<int64_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto larger = [&](int64_t a, int64_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  if (o.top_k > 0 && o.top_k < static_cast<int64_t>(order.size())) {
    std::nth_element(order.begin(), order.begin() + o.top_k, order.end(), larger);
    order.resize(static_cast<size_t>(o.top_k));
  }
  std::sort(order.begin(), order.end(), larger);
  const double largest = logits[static_cast<size_t>(order[0])];
  std::vector<double> weight(order.size());
  double total = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    weight[i] =
        std::exp((static_cast<double>(logits[static_cast<size_t>(order[i])]) - largest) / o.temperature);
    total += weight[i];
  }
  size_t kept = order.size();
  if (o.top_p < 1) {
    double sum = 0;
    for (kept = 0; kept < order.size() && (kept == 0 || sum < o.top_p * total); ++kept) sum += weight[kept];
    total = sum;
  }
  double sum = 0;
  for (size_t i = 0; i + 1 < kept; ++i) {
    sum += weight[i];
    if (draw * total < sum) return order[i];
  }
  return order[kept - 1];
}

double sampling_draw(uint64_t seed, int64_t row, int64_t position) {
  const PhiloxBlock block =
      Philox{seed, stream_of(StreamUse::sampling, static_cast<uint64_t>(row))}(static_cast<uint64_t>(position));
  return (static_cast<double>(block[0] >> 5) * 0x1p26 + static_cast<double>(block[1] >> 6) + 0.5) * 0x1p-53;
}

}  // namespace reckon::models
