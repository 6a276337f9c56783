// Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011). A draw is a pure function of
// seed, stream and counter, so initialisers, dropout and data samplers need no state that would have
// to be saved, and any order or split of the work gives the same numbers. Called by tensor
// initialisers, dropout and models/data.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace reckon {

using PhiloxBlock = std::array<uint32_t, 4>;

// The bare bijection: 128-bit counter, 64-bit key, ten rounds.
constexpr PhiloxBlock philox4x32_10(PhiloxBlock counter, std::array<uint32_t, 2> key) {
  constexpr uint64_t kMultiplier0 = 0xD2511F53u, kMultiplier1 = 0xCD9E8D57u;
  constexpr uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = kMultiplier0 * counter[0];
    const uint64_t p1 = kMultiplier1 * counter[2];
    counter = {static_cast<uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(p0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

// A value, freely copied. Different streams under one seed are independent
// (the stream is the counter's upper half).
struct Philox {
  uint64_t seed = 0;
  uint64_t stream = 0;

  constexpr PhiloxBlock operator()(uint64_t counter) const {
    return philox4x32_10({static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32),
                          static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)},
                         {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  }
};

// What a stream of a run's seed is for, in the stream's upper byte: no two uses draw the same numbers. Batches of
// alignments and of tokens take theirs from models/data (upper bytes 1, 2, 3 and 0x74).
enum class StreamUse : uint64_t { parameters = 0, dropout = 0x64, examples = 0x65, sampling = 0x73 };

constexpr uint64_t stream_of(StreamUse use, uint64_t number) {
  return (static_cast<uint64_t>(use) << 56) | number;
}

// Uniform in the open interval (0, 1): odd multiples of 2^-24, so every value is an exact float, the set is
// symmetric about 1/2 and neither end occurs.
constexpr float uniform_open(uint32_t bits) { return static_cast<float>((bits >> 8) | 1u) * 0x1p-24f; }

constexpr std::array<float, 4> uniform_open(const PhiloxBlock& block) {
  return {uniform_open(block[0]), uniform_open(block[1]), uniform_open(block[2]), uniform_open(block[3])};
}

// Two standard normals from two uniforms (Box-Muller). |z| stays below 5.77 because
// the smallest uniform is 2^-24.
inline std::array<float, 2> normal_pair(float u0, float u1) {
  const float radius = std::sqrt(-2.0f * std::log(u0));
  const float angle = 2.0f * std::numbers::pi_v<float> * u1;
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

inline std::array<float, 4> normal_four(const PhiloxBlock& block) {
  const auto u = uniform_open(block);
  const auto a = normal_pair(u[0], u[1]);
  const auto b = normal_pair(u[2], u[3]);
  return {a[0], a[1], b[0], b[1]};
}

// Integer in [0, n) from 64 bits: the upper half of the 128-bit product bits * n. Bias
// below n / 2^64. n = 0 gives 0.
constexpr uint64_t uniform_below(uint64_t bits, uint64_t n) {
  const uint64_t a = bits >> 32, b = bits & 0xffffffffu, c = n >> 32, d = n & 0xffffffffu;
  const uint64_t middle = b * c + ((b * d) >> 32);
  const uint64_t middle_low = (middle & 0xffffffffu) + a * d;
  return a * c + (middle >> 32) + (middle_low >> 32);
}

constexpr uint64_t uniform_below(const PhiloxBlock& block, uint64_t n) {
  return uniform_below((static_cast<uint64_t>(block[1]) << 32) | block[0], n);
}

}  // namespace reckon
