// What backward's kernels read, and the gradients they make on the way from it, tile by tile.
#pragma once

#include "ops/triangle_multiply/triangle_multiply.cuh"

namespace reckon::ops::gpu {

struct BackwardSide {
  const void *value, *gate;      // what was kept of the projections, [positions, c]
  const void *w_value, *w_gate;  // [c, cz]
  const void* gradient;          // da or db by channels
};

struct TriangleBackward {
  const void *dy, *o, *g;  // [positions, c_out]
  const void *w_z, *w_g;
  BackwardSide side[2];
  Elements mask;
  Channels layout;
  int c, cz, c_out;
  bool out_vectors, side_vectors;  // of dy, o and g; of what was kept of the sides
  bool w_z_vectors, w_g_vectors, side_w_vectors;
};

// dy, in a tile of shared memory, becomes in place the gradient of the output projection (of w_z) or of the
// output gate (of w_g): dy s or dy o s (1 - s), s = sigmoid(g). Vector v of row r of the tile is column column0
// + v kVector of row row0 + r; rows from `rows` on and columns from `columns` on stay zero. A thread has kBatch
// vectors of g (and of o) under way.
template <bool kGate, int kThreads, int kBatch, class T>
__device__ __forceinline__ void output_gradient(T* tile, int row_of_tile, int tile_rows, int tile_columns,
                                                const TriangleBackward& p, int64_t row0, int column0, int rows,
                                                int columns) {
  const int per_row = tile_columns / kVector<T>, vectors = tile_rows * per_row;
  for (int first = threadIdx.x; first < vectors; first += kBatch * kThreads) {
    uint4 g_bits[kBatch], o_bits[kGate ? kBatch : 1];
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      const int i = first + b * kThreads, r = i / per_row, column = i % per_row * kVector<T>;
      if (i >= vectors || r >= rows || column >= columns) continue;
      const int64_t at = (row0 + r) * p.c_out + column0 + column;
      g_bits[b] = vector_bits(static_cast<const T*>(p.g) + at, columns - column, p.out_vectors);
      if constexpr (kGate)
        o_bits[b] = vector_bits(static_cast<const T*>(p.o) + at, columns - column, p.out_vectors);
    }
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      const int i = first + b * kThreads, r = i / per_row, column = i % per_row * kVector<T>;
      if (i >= vectors || r >= rows || column >= columns) continue;
      uint4* const at = reinterpret_cast<uint4*>(tile + r * row_of_tile + column);
      float d[kVector<T>], g[kVector<T>], o[kVector<T>];
      floats_of<T>(*at, d);
      floats_of<T>(g_bits[b], g);
      if constexpr (kGate) floats_of<T>(o_bits[b], o);
#pragma unroll
      for (int k = 0; k < kVector<T>; ++k) {
        const float s = sigmoid<T>(g[k]);
        d[k] *= kGate ? o[k] * s * (1.0f - s) : s;
      }
      *at = packed_vector<T>(d);
    }
  }
}

// What was kept of a side, in tiles [kPositions][64 channels or less], becomes in place the gradients of its
// two projections: with s = sigmoid(gate), dvalue = d mask s and dgate = dvalue value (1 - s). `d`: da or db by
// channels. It is zero past the positions and channels, and so are they.
template <int kThreads, int kPositions, class T>
__device__ __forceinline__ void side_gradient(T* value, T* gate, int row_of_tile, int channels,
                                              const TurnedTile<T, kPositions>& d, const Elements& mask,
                                              int64_t row0, int rows) {
  const int per_row = channels / kVector<T>;
#pragma unroll 1  // the caller's sums fill most registers
  for (int i = threadIdx.x; i < kPositions * per_row; i += kThreads) {
    const int r = i / per_row, channel = i % per_row * kVector<T>;
    const float m = mask && r < rows ? load(mask, row0 + r) : 1.0f;
    float v[kVector<T>], s[kVector<T>];
    uint4* const to_value = reinterpret_cast<uint4*>(value + r * row_of_tile + channel);
    uint4* const to_gate = reinterpret_cast<uint4*>(gate + r * row_of_tile + channel);
    floats_of<T>(*to_value, v);
    floats_of<T>(*to_gate, s);
#pragma unroll
    for (int k = 0; k < kVector<T>; ++k) {
      const float gated = sigmoid<T>(s[k]), dv = to_float(d.at(channel + k, r)) * m * gated;
      s[k] = dv * v[k] * (1.0f - gated);
      v[k] = dv;
    }
    *to_value = packed_vector<T>(v);
    *to_gate = packed_vector<T>(s);
  }
}

void launch_triangle_output_rows(const KernelArgs& a, int index, DType type, const NormInput& n,
                                 const TriangleBackward& p, void* dt, float* partial);
void launch_triangle_gather(const KernelArgs& a, int index, DType type, const TriangleBackward& p, void* to_a,
                            void* to_b);
void launch_triangle_input_rows(const KernelArgs& a, int index, DType type, const NormInput& n,
                                const TriangleBackward& p, const TensorArg* dz, float* partial);
// `in`: the norm of z, `out`: that of t.
void launch_triangle_weights(const KernelArgs& a, int index, DType type, const NormInput& in,
                             const NormInput& out, const TriangleBackward& p, const TriangleSums& sums,
                             float* partial);

}  // namespace reckon::ops::gpu
