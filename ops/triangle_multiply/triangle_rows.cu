// Backward over tiles of positions: from dy to the triangle's gradient dt, and from da, db and dy to dz.
#include "ops/kernel/gpu/launch.cuh"
#include "ops/triangle_multiply/triangle_backward.cuh"

namespace reckon::ops::gpu {
namespace {

template <class T, int MT, int NT>
struct OutputSpace {
  using Norm = NormGradient<MT, NT>;
  int row_of_g, row_of_w, stage, floats_over;  // elements, but floats of what is overlaid

  RECKON_INLINE constexpr OutputSpace(int c, int c_out)
      : row_of_g(tile_row<T>(whole_steps(c_out))),
        row_of_w(tile_row<T>(whole_steps(c))),
        stage(kChunk<T> * row_of_w),
        floats_over(Norm::kNormalised) {
    const int product = (kTileRows * row_of_g + 2 * stage) * static_cast<int>(sizeof(T)) / 4;
    const int turned = whole_steps(c) * tile_row<T>(kTileRows) * static_cast<int>(sizeof(T)) / 4;
    if (floats_over < product) floats_over = product;
    if (floats_over < turned) floats_over = turned;
  }
  RECKON_INLINE constexpr size_t bytes() const { return 4 * static_cast<size_t>(floats_over + Norm::kKept); }
};

// dt = (dy sigmoid(g)) W_z, back through the norm of t, and turned to channels. Shared memory: the
// gradient [128, c_out] and two stages of W_z [kChunk, c], overlaid by t's normalised rows, then
// by dt; what NormGradient keeps.
template <class T, int MT, int NT>
__global__ void __launch_bounds__(NormGradient<MT, NT>::kThreads, MT)
    triangle_output_rows(NormInput n, TriangleBackward p, T* dt, float* partial, int64_t tiles_per_piece) {
  constexpr int kThreads = NormGradient<MT, NT>::kThreads;
  RECKON_DYNAMIC_SHARED(T, gradient);
  const OutputSpace<T, MT, NT> space(p.c, p.c_out);
  T* const stages = gradient + kTileRows * space.row_of_g;
  float* const floats = reinterpret_cast<float*>(gradient);
  const NormGradient<MT, NT> norm(n, floats, floats + space.floats_over);
  const PaddedTile<T, kTileRows> turned{gradient};
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, columns = whole_steps(p.c);

  for (int64_t i = 0; i < tiles_per_piece; ++i) {
    const int64_t row0 = (blockIdx.x * tiles_per_piece + i) * kTileRows;
    if (row0 >= n.rows) break;
    const int rows_left = n.rows - row0 < kTileRows ? static_cast<int>(n.rows - row0) : kTileRows;
    int stage = 0;
    const auto issue = [&](int k0) {
      copy_tile<kThreads>(stages + stage * space.stage, space.row_of_w, kChunk<T>, columns,
                          static_cast<const T*>(p.w_z) + int64_t{k0} * p.c, p.c, p.c_out - k0, p.c,
                          p.w_z_vectors);
    };
    copy_tile<kThreads>(gradient, space.row_of_g, kTileRows, whole_steps(p.c_out),
                        static_cast<const T*>(p.dy) + row0 * p.c_out, p.c_out, rows_left, p.c_out,
                        p.out_vectors);
    issue(0);
    copy_async_wait();
    __syncthreads();
    output_gradient<false, kThreads, 8>(gradient, space.row_of_g, kTileRows, whole_steps(p.c_out), p, row0, 0,
                                        rows_left, p.c_out);
    float dn[MT][NT][4];
    clear(dn);
    for (int k0 = 0; k0 < p.c_out; k0 += kChunk<T>) {
      copy_async_wait();
      __syncthreads();
      const T* w = stages + stage * space.stage;
      stage ^= 1;
      if (k0 + kChunk<T> < p.c_out) issue(k0 + kChunk<T>);
      const T* x = gradient + 16 * MT * warp * space.row_of_g + k0;
      const int k = p.c_out - k0 < kChunk<T> ? whole_steps(p.c_out - k0) : kChunk<T>;
      if (columns == 8 * NT)
        multiply<Along::k, Along::rows>(dn, x, space.row_of_g, w, space.row_of_w, k);
      else
        multiply<Along::k, Along::rows, true>(dn, x, space.row_of_g, w, space.row_of_w, k, columns);
    }
    norm.finish(dn, n, row0);
    if (dt) {
#pragma unroll
      for (int j = 0; j < NT; ++j) {
        if (8 * j >= p.c) break;
#pragma unroll
        for (int m = 0; m < MT; ++m)
#pragma unroll
          for (int e = 0; e < 4; ++e)
            turned.at(8 * j + 2 * t + e % 2, 16 * (MT * warp + m) + e / 2 * 8 + g) = from_float<T>(dn[m][j][e]);
      }
      __syncthreads();
      Passage<T, kTileRows, kThreads>(p.layout, row0, n.rows).store(turned, dt, p.c);
    }
    __syncthreads();
  }
  if (partial) norm.store_totals(n.c, partial + blockIdx.x * 2 * n.c);
}

constexpr int kGatherThreads = 256, kGatherChannels = 64;

// a or b by channels again, from what was kept. Blocks: tiles of positions, of 64 channels, sides.
template <class T>
__global__ void __launch_bounds__(kGatherThreads) triangle_gather(TriangleBackward p, T* to_a, T* to_b) {
  RECKON_DYNAMIC_SHARED(T, shared);
  constexpr int kGroups = kGatherChannels / kVector<T>, kBatch = 4;
  static_assert(kTileRows * kGroups % (kBatch * kGatherThreads) == 0);
  const TurnedTile<T, kTileRows> tile{shared};
  const int64_t row0 = int64_t{blockIdx.x} * kTileRows, positions = p.layout.positions;
  const int ch0 = blockIdx.y * kGatherChannels,
            channels = p.c - ch0 < kGatherChannels ? p.c - ch0 : kGatherChannels;
  const void *value = blockIdx.z ? p.side[1].value : p.side[0].value,
             *gate = blockIdx.z ? p.side[1].gate : p.side[0].gate;
  for (int first = threadIdx.x; first < kTileRows * kGroups; first += kBatch * kGatherThreads) {
    uint4 v_bits[kBatch], g_bits[kBatch];
    const auto vector = [&](int b, auto&& body) {
      const int i = first + b * kGatherThreads, r = i / kGroups, channel = i % kGroups * kVector<T>;
      if (row0 + r < positions && channel < channels) body(r, channel);
    };
#pragma unroll
    for (int b = 0; b < kBatch; ++b)
      vector(b, [&](int r, int channel) {
        const int64_t at = (row0 + r) * p.c + ch0 + channel;
        v_bits[b] = vector_bits(static_cast<const T*>(value) + at, channels - channel, p.side_vectors);
        g_bits[b] = vector_bits(static_cast<const T*>(gate) + at, channels - channel, p.side_vectors);
      });
#pragma unroll
    for (int b = 0; b < kBatch; ++b)
      vector(b, [&](int r, int channel) {
        const float m = p.mask ? load(p.mask, row0 + r) : 1.0f;
        float v[kVector<T>], g[kVector<T>];
        floats_of<T>(v_bits[b], v);
        floats_of<T>(g_bits[b], g);
#pragma unroll
        for (int k = 0; k < kVector<T>; ++k)
          tile.at(channel + k, r) = from_float<T>(sigmoid<T>(g[k]) * v[k] * m);
      });
  }
  __syncthreads();
  Passage<T, kTileRows, kGatherThreads>(p.layout, row0, positions)
      .store(tile, (blockIdx.z ? to_b : to_a) + ch0 * p.layout.channel, channels);
}

template <class T, int MT, int NT>
struct InputSpace {
  using Norm = NormGradient<MT, NT>;
  static constexpr int kRowOfG = tile_row<T>(kChunk<T>), kG = kTileRows * kRowOfG,
                       kTurned = kChunk<T> * kTileRows;
  int row_of_w, w, floats_over;

  RECKON_INLINE constexpr explicit InputSpace(int cz)
      : row_of_w(tile_row<T>(whole_steps(cz))), w(kChunk<T> * row_of_w), floats_over(Norm::kNormalised) {
    const int product = (2 * kG + 2 * w + kTurned) * static_cast<int>(sizeof(T)) / 4;
    if (floats_over < product) floats_over = product;
  }
  RECKON_INLINE constexpr size_t bytes() const { return 4 * static_cast<size_t>(floats_over + Norm::kKept); }
};

// dn = dgate W_g + sum over the sides of dvalue W + dgate W_gate, then back through the norm of z. Shared
// memory: two gradients [128, kChunk], their weights [kChunk, cz] and da or db [kChunk, 128], overlaid by the
// normalised rows; what NormGradient keeps. Two blocks share a multiprocessor for narrow rows, so that one
// loads while the other multiplies.
template <class T, int MT, int NT>
__global__ void __launch_bounds__(NormGradient<MT, NT>::kThreads, MT)
    triangle_input_rows(NormInput n, TriangleBackward p, Elements dz, float* partial, int64_t tiles_per_piece,
                        bool fours) {
  using Space = InputSpace<T, MT, NT>;
  constexpr int kThreads = NormGradient<MT, NT>::kThreads, kRowOfG = Space::kRowOfG, kWidth = kChunk<T>;
  RECKON_DYNAMIC_SHARED(T, first);
  const Space space(p.cz);
  T* const second = first + Space::kG;
  T* const w_first = second + Space::kG;
  T* const w_second = w_first + space.w;
  const TurnedTile<T, kTileRows> d{w_second + space.w};
  float* const floats = reinterpret_cast<float*>(first);
  const NormGradient<MT, NT> norm(n, floats, floats + space.floats_over);
  const int warp = threadIdx.x / 32, columns = whole_steps(p.cz);

  for (int64_t i = 0; i < tiles_per_piece; ++i) {
    const int64_t row0 = (blockIdx.x * tiles_per_piece + i) * kTileRows;
    if (row0 >= n.rows) break;
    const int rows_left = n.rows - row0 < kTileRows ? static_cast<int>(n.rows - row0) : kTileRows;
    const Passage<T, kTileRows, kThreads> passage(p.layout, row0, n.rows);
    float dn[MT][NT][4];
    clear(dn);
    const auto copy_rows = [&](T* to, const void* from, int width, int k0, bool vectors) {
      copy_tile<kThreads>(to, kRowOfG, kTileRows, kWidth, static_cast<const T*>(from) + row0 * width + k0,
                          width, rows_left, width - k0, vectors);
    };
    const auto copy_weight = [&](T* to, const void* from, int height, int k0, bool vectors) {
      copy_tile<kThreads>(to, space.row_of_w, kWidth, columns, static_cast<const T*>(from) + int64_t{k0} * p.cz,
                          p.cz, height - k0, p.cz, vectors);
    };
    const auto add = [&](const T* x, const T* w, int k) {
      x += 16 * MT * warp * kRowOfG;
      if (columns == 8 * NT)
        multiply<Along::k, Along::rows>(dn, x, kRowOfG, w, space.row_of_w, k);
      else
        multiply<Along::k, Along::rows, true>(dn, x, kRowOfG, w, space.row_of_w, k, columns);
    };
    for (int k0 = 0; k0 < p.c_out; k0 += kWidth) {
      copy_rows(first, p.dy, p.c_out, k0, p.out_vectors);
      copy_weight(w_first, p.w_g, p.c_out, k0, p.w_g_vectors);
      copy_async_wait();
      __syncthreads();
      output_gradient<true, kThreads, sizeof(T) == 2 ? 4 : 2>(first, kRowOfG, kTileRows, kWidth, p, row0, k0,
                                                              rows_left, p.c_out - k0);
      __syncthreads();
      add(first, w_first, p.c_out - k0 < kWidth ? whole_steps(p.c_out - k0) : kWidth);
      __syncthreads();
    }
#pragma unroll 1
    for (int s = 0; s < 2; ++s) {
      const BackwardSide& side = p.side[s];
      for (int ch0 = 0; ch0 < p.c; ch0 += kWidth) {
        passage.load(d, static_cast<const T*>(side.gradient) + ch0 * p.layout.channel, kWidth, p.c - ch0);
        copy_rows(first, side.value, p.c, ch0, p.side_vectors);
        copy_rows(second, side.gate, p.c, ch0, p.side_vectors);
        copy_weight(w_first, side.w_value, p.c, ch0, p.side_w_vectors);
        copy_weight(w_second, side.w_gate, p.c, ch0, p.side_w_vectors);
        copy_async_wait();
        __syncthreads();
        side_gradient<kThreads, kTileRows>(first, second, kRowOfG, kWidth, d, p.mask, row0, rows_left);
        __syncthreads();
        const int k = p.c - ch0 < kWidth ? whole_steps(p.c - ch0) : kWidth;
        add(first, w_first, k);
        add(second, w_second, k);
        __syncthreads();
      }
    }
    norm.finish(dn, n, row0);
    if (dz) store_rows(dn, dz, row0 + 16 * MT * warp, n.rows, n.c, fours);
    __syncthreads();
  }
  if (partial) norm.store_totals(n.c, partial + blockIdx.x * 2 * n.c);
}

}  // namespace

void launch_triangle_output_rows(const KernelArgs& a, int index, DType type, const NormInput& n,
                                 const TriangleBackward& p, void* dt, float* partial) {
  const RowPieces pieces(n.rows);
  with_type(type, [&](auto t) {
    using T = decltype(t);
    const auto run = [&](auto kernel, int threads, size_t bytes) {
      launch(a, index, kernel, blocks_for(pieces.pieces, 1), threads, bytes, n, p, static_cast<T*>(dt), partial,
             pieces.tiles_per_piece);
    };
    if (sizeof(T) == 4 || p.c <= 128)
      run(triangle_output_rows<T, 2, 16>, 128, OutputSpace<T, 2, 16>(p.c, p.c_out).bytes());
    else if constexpr (sizeof(T) == 2)
      run(triangle_output_rows<T, 1, 32>, 256, OutputSpace<T, 1, 32>(p.c, p.c_out).bytes());
  });
}

void launch_triangle_gather(const KernelArgs& a, int index, DType type, const TriangleBackward& p, void* to_a,
                            void* to_b) {
  const dim3 grid(blocks_for(p.layout.positions, kTileRows), (p.c + kGatherChannels - 1) / kGatherChannels, 2);
  with_type(type, [&](auto t) {
    using T = decltype(t);
    launch(a, index, triangle_gather<T>, grid, kGatherThreads, sizeof(T) * kGatherChannels * kTileRows, p,
           static_cast<T*>(to_a), static_cast<T*>(to_b));
  });
}

void launch_triangle_input_rows(const KernelArgs& a, int index, DType type, const NormInput& n,
                                const TriangleBackward& p, const TensorArg* dz, float* partial) {
  const RowPieces pieces(n.rows);
  with_type(type, [&](auto t) {
    using T = decltype(t);
    const auto run = [&](auto kernel, int threads, size_t bytes) {
      launch(a, index, kernel, blocks_for(pieces.pieces, 1), threads, bytes, n, p,
             dz ? elements(*dz) : Elements{}, partial, pieces.tiles_per_piece, dz && takes_fours(*dz, n.c));
    };
    if (sizeof(T) == 4 || p.cz <= 128)
      run(triangle_input_rows<T, 2, 16>, 128, InputSpace<T, 2, 16>(p.cz).bytes());
    else if constexpr (sizeof(T) == 2)
      run(triangle_input_rows<T, 1, 32>, 256, InputSpace<T, 1, 32>(p.cz).bytes());
  });
}

}  // namespace reckon::ops::gpu
