// Mixing of numbers into one. Used to tell whether two op calls compute the same; not for
// hash tables of strangers' data.
#pragma once

#include <cstdint>

namespace reckon {

// Steele, Lea and Flood's finaliser over h and v.
constexpr uint64_t mix_hash(uint64_t h, uint64_t v) {
  uint64_t x = h * 0x9e3779b97f4a7c15ull + v + 0x632be59bd9b4e019ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

}  // namespace reckon
