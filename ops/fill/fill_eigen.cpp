// Constants, causal masks and random numbers. Element i of a random tensor comes from the generator's block i
// (redraws of a truncated normal from block i + 2^40 k): a uniform from its first word, a normal by Box and
// Muller from its first two. tests/core/rng_test.cpp holds the generator to its published answers.
#include <cmath>

#include "ops/fill/fill_attrs.h"
#include "ops/reference.h"

namespace reckon::ops {
namespace {

HostTensors fill(const ReferenceCall& c) {
  HostTensor out(c.in[0].shape);
  out.flat() = c.as<FillAttrs>().value;
  return {out};
}

// Query i of q sees key j of k where j <= i + k - q.
HostTensors fill_causal(const ReferenceCall& c) {
  HostTensor out(c.in[0].shape);
  const int64_t q = out.size(-2), k = out.size(-1);
  for (int64_t m = 0; m < out.n_matrices(); ++m)
    for (int64_t i = 0; i < q; ++i)
      for (int64_t j = 0; j < k; ++j) out.matrix(m)(i, j) = j <= i + k - q ? 0 : c.as<FillAttrs>().value;
  return {out};
}

HostTensors fill_random(const ReferenceCall& c) {
  const auto& t = c.as<RandomAttrs>();
  HostTensor out(c.in[0].shape);
  for (size_t i = 0; i < out.values.size(); ++i) {
    uint64_t counter = i;
    PhiloxBlock block = t.random(counter);
    const auto normal = [&] { return normal_pair(uniform_open(block[0]), uniform_open(block[1]))[0]; };
    while (t.distribution == Distribution::truncated_normal && std::fabs(normal()) > kTruncation)
      block = t.random(counter += uint64_t{1} << kRedrawBits);
    const double unit = t.distribution == Distribution::uniform ? 2.0 * uniform_open(block[0]) - 1 : normal();
    out.values[i] = t.mean + t.spread * unit;
  }
  return {out};
}

OpValues first_number(Distribution d, double value, std::string how) {
  auto attrs = std::make_shared<RandomAttrs>();
  attrs->distribution = d;
  attrs->mean = 10;
  attrs->spread = 0.5;
  attrs->random = {0, 0};
  return {
      .name = "first number",
      .inputs = {{{1}, {0}}},
      .attrs = attrs,
      .outputs = {{{1}, {10 + 0.5 * value}}},
      .source =
          "Random123's known answer for Philox4x32-10 with counter and key 0 starts 6627e8d5 e169c58d; their "
          "upper 24 bits, made odd, are 0.3990464807 and 0.8805201650; " +
          how,
      .precision = 1e-7};  // the generator works in f32
}

}  // namespace

std::vector<OpReference> fill_references() {
  const auto attrs = std::make_shared<FillAttrs>(-8.0);
  const double uniform = 2 * 0.3990464807 - 1, normal = 0.9911374751;
  const std::string box_muller = "sqrt(-2 ln 0.3990464807) cos(2 pi 0.8805201650)";
  return {
      {.op = "fill",
       .compute = fill,
       .values = {{.name = "constant",
                   .inputs = {{{2, 2}, {1, 2, 3, 4}}},
                   .attrs = attrs,
                   .outputs = {{{2, 2}, {-8, -8, -8, -8}}},
                   .source = "the definition"}}},
      {.op = "fill_causal",
       .compute = fill_causal,
       .values = {{.name = "two queries, three keys",
                   .inputs = {{{2, 3}, {1, 2, 3, 4, 5, 6}}},
                   .attrs = attrs,
                   .outputs = {{{2, 3}, {0, 0, -8, 0, 0, 0}}},
                   .source = "the last query sees every key, the one before it all but the last"}}},
      {.op = "fill_random",
       .compute = fill_random,
       .values = {first_number(Distribution::uniform, uniform, "2 0.3990464807 - 1"),
                  first_number(Distribution::normal, normal, box_muller),
                  first_number(Distribution::truncated_normal, normal, box_muller + ", which is below 2")}}};
}

}  // namespace reckon::ops
