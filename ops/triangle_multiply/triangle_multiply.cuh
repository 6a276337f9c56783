// What the files of triangle_multiply's GPU kernels share: the passage between rows [position][channel] and the
// library's [channel][position], and the gates.
#pragma once

#include "ops/kernel/gpu/norm_tile.cuh"
#include "ops/triangle_multiply/triangle_multiply_gpu.h"

namespace reckon::ops::gpu {

void triangle_multiply_backward_gpu(KernelArgs& a);

// Where position p = (batch r + i) r + k of channel ch lies in [B, c, r, ld].
struct Channels {
  unsigned positions, r;
  int64_t ld, channel, batch;  // elements from one i, channel and batch to the next
  bool vectors;                // 16 bytes of positions never cross a row, and tiles start at whole vectors

  __device__ __forceinline__ int64_t at(unsigned position) const {
    const unsigned row = position / r, b = row / r;
    return b * batch + (row - b * r) * ld + (position - row * r);
  }
};

inline Channels channels_of(const TriangleSizes& s) {
  return {static_cast<unsigned>(s.positions()),
          static_cast<unsigned>(s.r),
          s.ld(),
          s.r * s.ld(),
          s.c * s.r * s.ld(),
          s.r == s.ld()};
}

// Tiles [channels][kPositions] of shared memory. The first is an operand of a
// product, and for warps that hold sums.
template <class T, int kPositions>
struct PaddedTile {
  static constexpr int kRow = tile_row<T>(kPositions);

  T* data;

  __device__ __forceinline__ T* vector(int channel, int v) const {
    return data + channel * kRow + v * kVector<T>;
  }
  __device__ __forceinline__ T& at(int channel, int position) const { return data[channel * kRow + position]; }
};

// The second, whose vectors of a row are permuted by groups of channels, so that neither threads that walk
// along positions nor those that walk along channels, a vector at a time, meet in a bank.
template <class T, int kPositions>
struct TurnedTile {
  static constexpr int kVectors = kPositions / kVector<T>;

  T* data;

  __device__ __forceinline__ T* vector(int channel, int v) const {
    return data + channel * kPositions + (v ^ (channel / kVector<T> % 8)) * kVector<T>;
  }
  __device__ __forceinline__ T& at(int channel, int position) const {
    return vector(channel, position / kVector<T>)[position % kVector<T>];
  }
};

// The passage of a block's tiles of kPositions positions from `first` on, below `end`. Every thread keeps to
// one place along the positions, which is found once.
template <class T, int kPositions, int kThreads>
class Passage {
 public:
  __device__ __forceinline__ Passage(const Channels& c, int64_t first, int64_t end)
      : channel_(c.channel), vectors_(c.vectors) {
    place_ = vectors_ ? threadIdx.x % kVectors : threadIdx.x % kPositions;
    const int64_t position = first + (vectors_ ? place_ * kVector<T> : place_);
    inside_ = position < end;
    at_ = inside_ ? c.at(static_cast<unsigned>(position)) : 0;
  }

  // `count` channels from `from` (whose first is the tile's first); those past `limit` and positions past the
  // end become 0. Asynchronous where vectors move.
  template <class Tile>
  __device__ __forceinline__ void load(const Tile& tile, const T* from, int count, int limit) const {
    if (vectors_) {
      for (int ch = threadIdx.x / kVectors; ch < count; ch += kThreads / kVectors) {
        const bool inside = inside_ && ch < limit;
        copy_async16(tile.vector(ch, place_), inside ? from + ch * channel_ + at_ : from, inside);
      }
    } else {
      for (int ch = threadIdx.x / kPositions; ch < count; ch += kThreads / kPositions)
        tile.at(ch, place_) = inside_ && ch < limit ? from[ch * channel_ + at_] : from_float<T>(0.0f);
    }
  }

  // The first `count` channels of the tile to `to`.
  template <class Tile>
  __device__ __forceinline__ void store(const Tile& tile, T* to, int count) const {
    if (!inside_) return;
    if (vectors_) {
      for (int ch = threadIdx.x / kVectors; ch < count; ch += kThreads / kVectors)
        *reinterpret_cast<uint4*>(to + ch * channel_ + at_) =
            *reinterpret_cast<const uint4*>(tile.vector(ch, place_));
    } else {
      for (int ch = threadIdx.x / kPositions; ch < count; ch += kThreads / kPositions)
        to[ch * channel_ + at_] = tile.at(ch, place_);
    }
  }

 private:
  static constexpr int kVectors = kPositions / kVector<T>;
  static_assert(kThreads % kPositions == 0 && kThreads % kVectors == 0);
  int64_t channel_, at_;
  int place_;
  bool vectors_, inside_;
};

template <class T>
__device__ __forceinline__ float sigmoid(float x) {
  if constexpr (sizeof(T) == 2) {
    const float e = __expf(-fabsf(x));
    return __fdividef(x < 0.0f ? e : 1.0f, 1.0f + e);
  } else {
    const float e = expf(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
  }
}

// kVector elements of a row as they lie in memory, and as f32; zeros past `columns`. Loads that are under way
// together must not be parted by conversions.
template <class T>
__device__ __forceinline__ uint4 vector_bits(const T* from, int columns, bool vectors) {
  if (vectors) return columns > 0 ? *reinterpret_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
  T elements[kVector<T>];
#pragma unroll
  for (int i = 0; i < kVector<T>; ++i) elements[i] = i < columns ? from[i] : from_float<T>(0.0f);
  uint4 bits;
  memcpy(&bits, elements, 16);
  return bits;
}
template <class T>
__device__ __forceinline__ void floats_of(const uint4& bits, float (&v)[kVector<T>]) {
  T elements[kVector<T>];
  memcpy(static_cast<void*>(elements), &bits, 16);
#pragma unroll
  for (int i = 0; i < kVector<T>; ++i) v[i] = to_float(elements[i]);
}
template <class T>
__device__ __forceinline__ uint4 packed_vector(const float (&v)[kVector<T>]) {
  if constexpr (sizeof(T) == 2)
    return make_uint4(pack_pair<T>(v[0], v[1]), pack_pair<T>(v[2], v[3]), pack_pair<T>(v[4], v[5]),
                      pack_pair<T>(v[6], v[7]));
  else
    return make_uint4(__float_as_uint(v[0]), __float_as_uint(v[1]), __float_as_uint(v[2]),
                      __float_as_uint(v[3]));
}

}  // namespace reckon::ops::gpu
