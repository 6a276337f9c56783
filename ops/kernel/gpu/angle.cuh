// Sine and cosine of any f32, and of f64 angles up to 2^27, good to f32's precision. In f64 with short
// polynomials, since the library's sinf and cosf keep an array on the stack for large arguments.
#pragma once

#include "ops/kernel/gpu/device.cuh"

namespace reckon::ops::gpu {

struct Turned {
  double rest;   // in [-pi/4, pi/4]
  int quadrant;  // the angle is rest + quadrant pi/2, up to whole turns; only the last two bits matter
};

// |angle| < 2^27: the nearest multiple of pi/2 comes off in two pieces.
__device__ __forceinline__ Turned turned(double angle) {
  const double turns = floor(angle * 0.63661977236758134308 + 0.5);
  const double near = fma(turns, -1.57079632679489661923, angle);
  return {fma(turns, -6.12323399573676603587e-17, near), static_cast<int>(static_cast<long long>(turns) & 3)};
}

// Any finite x of at least 2^27. With x = m 2^e, m of 24 bits, only the 96 bits of 2/pi from bit e - 2 on
// matter: higher ones give multiples of 2 pi, lower ones less than 2^-72 (Payne and Hanek 1983).
__device__ __forceinline__ Turned turned_far(float x) {
  const unsigned bits = __float_as_uint(x);
  const int from = static_cast<int>(bits >> 23 & 0xff) - 127 - 23 - 2;
  const uint64_t mantissa = (bits & 0x7fffffu) | 0x800000u;
  const auto word = [](int i) -> uint64_t {  // of 2/pi; selected, not indexed, so that nothing lies in memory
    return i == 0   ? 0xA2F9836Eu
           : i == 1 ? 0x4E441529u
           : i == 2 ? 0xFC2757D1u
           : i == 3 ? 0xF534DDC0u
           : i == 4 ? 0xDB629599u
           : i == 5 ? 0x3C439041u
                    : 0xFE5163ABu;
  };
  const auto window = [&](int k) {
    return static_cast<uint32_t>((word(from / 32 + k) << 32 | word(from / 32 + k + 1)) >> (32 - from % 32));
  };
  // The product's fraction of a full turn, in units of 2^-64.
  const uint64_t turn = (mantissa * window(0) << 32) + mantissa * window(1) + (mantissa * window(2) >> 32);
  const uint64_t quadrant = (turn + (uint64_t{1} << 61)) >> 62;
  const double rest =
      static_cast<double>(static_cast<int64_t>(turn - (quadrant << 62))) * (1.57079632679489661923 * 0x1p-62);
  const int q = static_cast<int>(quadrant);
  return bits >> 31 ? Turned{-rest, -q} : Turned{rest, q};
}

// Taylor polynomials; their first missing term is below 2e-9.
__device__ __forceinline__ void sine_cosine(const Turned& t, float* sine, float* cosine) {
  const double r = t.rest, q = r * r;
  const double s = r * (1.0 + q * (-1.0 / 6 + q * (1.0 / 120 + q * (-1.0 / 5040 + q * (1.0 / 362880)))));
  const double c =
      1.0 + q * (-0.5 + q * (1.0 / 24 + q * (-1.0 / 720 + q * (1.0 / 40320 + q * (-1.0 / 3628800)))));
  const bool swapped = t.quadrant & 1;
  const double plain_sine = swapped ? c : s, plain_cosine = swapped ? s : c;
  *sine = static_cast<float>(t.quadrant & 2 ? -plain_sine : plain_sine);
  *cosine = static_cast<float>((t.quadrant + 1) & 2 ? -plain_cosine : plain_cosine);
}

// NaN for NaN and infinities.
__device__ __forceinline__ void sine_cosine(float x, float* sine, float* cosine) {
  sine_cosine(fabsf(x) < 0x1p27f ? turned(x) : turned_far(x), sine, cosine);
  if (!(fabsf(x) <= 3.402823466e38f)) *sine = *cosine = x - x;
}

}  // namespace reckon::ops::gpu
