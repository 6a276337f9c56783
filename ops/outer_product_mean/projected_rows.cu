// The outer product mean where a is projected first: U[m, z, q] = sum over p of a[m, p] W[z, p, q] for
// the rows m = (row, s) of a chunk of rows (batch, i), then out_ij = U_i b_j, and the gradients
// through dU[m, z, q] = sum over j of g_ijz b[s, j, q]. All are products of 128 x 64 results in steps
// of kStep, 8 warps of 16 rows each.
#include <algorithm>

#include "ops/outer_product_mean/outer_product_mean.cuh"

namespace reckon::ops::gpu {
namespace {

constexpr int kThreads = 256, kM = kProjectedRows, kN = kProjectedColumns;

// The rows (batch, i) of one chunk.
struct Chunk {
  int first, rows;
  bool begins, ends;  // whether sums over the chunks begin and end with this one
  OuterDims d;

  __device__ __forceinline__ int products() const { return rows * d.s; }
  // Where row m of U lies in a [B, S, R, c].
  __device__ __forceinline__ int64_t in_a(int m) const {
    const int row = first + m / d.s;
    return (int64_t{row / d.r * d.s + m % d.s} * d.r + row % d.r) * d.c;
  }
};

// sums += products of `steps` steps; a(step, tile) and b(step, tile) issue the operands, [128, k] and [k, 64]
// by `kA` and `kB`; after(step) follows each. Columns below `columns` are right.
template <class T, Along kA, Along kB>
struct Steps {
  static constexpr int kRowOfA = tile_row<T>(kA == Along::k ? kStep<T> : kM),
                       kRowOfB = tile_row<T>(kB == Along::k ? kStep<T> : kN);
  static constexpr int kOperand = (kA == Along::k ? kM : kStep<T>)*kRowOfA,
                       kStage = kOperand + (kB == Along::k ? kN : kStep<T>)*kRowOfB;
  static constexpr size_t kBytes = sizeof(T) * 2 * kStage;

  template <class A, class B, class After>
  __device__ __forceinline__ static void run(float (&sums)[1][8][4], T* stages, int steps, int rows,
                                             int columns, A a, B b, After after) {
    const int warp_row = threadIdx.x / 32 * 16;
    const auto issue = [&](int step) {
      T* const to = stages + step % 2 * kStage;
      a(step, to);
      b(step, to + kOperand);
    };
    if (steps > 0) issue(0);
    for (int step = 0; step < steps; ++step) {
      copy_async_wait();
      __syncthreads();
      if (step + 1 < steps) issue(step + 1);
      const T* at = stages + step % 2 * kStage;
      if (warp_row < rows)
        multiply<kA, kB, true>(sums, at + (kA == Along::k ? warp_row * kRowOfA : warp_row), kRowOfA,
                               at + kOperand, kRowOfB, kStep<T>, columns);
      after(step);
    }
  }
};

struct Nothing {
  __device__ __forceinline__ void operator()(int) const {}
};

// The sums of this warp, row m of the tile to row(m), which is negative where there is none.
template <class Row>
__device__ __forceinline__ void store_rows_at(const float (&sums)[1][8][4], const Elements& to, int columns,
                                              bool pairs, Row row) {
  const int warp_row = threadIdx.x / 32 * 16, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int64_t at = row(warp_row + 8 * h + g);
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      const int column = 8 * n + 2 * t;
      if (at >= 0 && column < columns)
        store_pair(to, at + column, sums[0][n][2 * h], sums[0][n][2 * h + 1], pairs, column + 1 < columns);
    }
  }
}

// The way back: what store_rows_at left there.
template <class Row>
__device__ __forceinline__ void load_rows_at(float (&sums)[1][8][4], const Elements& from, int columns,
                                             Row row) {
  const int warp_row = threadIdx.x / 32 * 16, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int64_t at = row(warp_row + 8 * h + g);
#pragma unroll
    for (int n = 0; n < 8; ++n)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int column = 8 * n + 2 * t + e;
        if (at >= 0 && column < columns) sums[0][n][2 * h + e] = load(from, at + column);
      }
  }
}

// U. Blocks: tiles of rows m, outputs z, tiles of q.
template <class T>
__global__ void __launch_bounds__(kThreads, 3)
    project_rows(Source a, Source weight, T* u, Chunk k, bool fours) {
  using S = Steps<T, Along::k, Along::rows>;
  RECKON_DYNAMIC_SHARED(T, stages);
  const OuterDims& d = k.d;
  const int q_tiles = (d.c + kN - 1) / kN, q0 = blockIdx.x % q_tiles * kN,
            z = blockIdx.x / q_tiles % max(d.cz, 1);
  const int m0 = static_cast<int>(blockIdx.x / q_tiles / max(d.cz, 1)) * kM,
            rows = d.cz > 0 ? k.products() - m0 : 0;
  float sums[1][8][4];
  clear(sums);
  if (rows <= 0) return;
  S::run(
      sums, stages, (d.c + kStep<T> - 1) / kStep<T>, rows, d.c - q0,
      [&](int step, T* to) {
        const int p0 = step * kStep<T>;
        load_segments<kThreads, kM, 1, kStep<T>>(to, S::kRowOfA, a, d.c - p0, [&](int m, int) -> int64_t {
          return m < rows ? k.in_a(m0 + m) + p0 : -1;
        });
      },
      [&](int step, T* to) {
        const int p0 = step * kStep<T>;
        load_segments<kThreads, kStep<T>, 1, kN>(to, S::kRowOfB, weight, d.c - q0, [&](int p, int) -> int64_t {
          return p0 + p < d.c ? (int64_t{z} * d.c + p0 + p) * d.c + q0 : -1;
        });
      },
      Nothing{});
  const int warp_row = threadIdx.x / 32 * 16;
  store_sums(sums, u + (int64_t{m0 + warp_row} * d.cz + z) * d.c + q0, int64_t{d.cz} * d.c, rows - warp_row,
             d.c - q0, fours);
}

// out. Blocks: rows of the chunk, tiles of j, tiles of z.
template <class T>
__global__ void __launch_bounds__(kThreads, 3)
    multiply_projected(Source u, Source b, Elements bias, PairScales scales, T* out, Chunk k, bool before,
                       bool fours) {
  using S = Steps<T, Along::k, Along::k>;
  RECKON_DYNAMIC_SHARED(T, stages);
  const OuterDims& d = k.d;
  const int z_tiles = (d.cz + kN - 1) / kN, j_tiles = (d.r + kM - 1) / kM;
  if (d.cz == 0) return;
  const int z0 = blockIdx.x % z_tiles * kN, j0 = blockIdx.x / z_tiles % j_tiles * kM,
            local = blockIdx.x / z_tiles / j_tiles;
  const int64_t row = k.first + local, batch = row / d.r;
  const int q_steps = (d.c + kStep<T> - 1) / kStep<T>, columns = d.cz - z0;
  float sums[1][8][4];
  clear(sums);
  S::run(
      sums, stages, d.s * q_steps, d.r - j0, columns,
      [&](int step, T* to) {
        const int s = step / q_steps, q0 = step % q_steps * kStep<T>;
        load_segments<kThreads, kM, 1, kStep<T>>(to, S::kRowOfA, b, d.c - q0, [&](int j, int) -> int64_t {
          return j0 + j < d.r ? ((batch * d.s + s) * d.r + j0 + j) * d.c + q0 : -1;
        });
      },
      [&](int step, T* to) {
        const int s = step / q_steps, q0 = step % q_steps * kStep<T>;
        load_segments<kThreads, kN, 1, kStep<T>>(to, S::kRowOfB, u, d.c - q0, [&](int z, int) -> int64_t {
          return z < columns ? ((int64_t{local} * d.s + s) * d.cz + z0 + z) * d.c + q0 : -1;
        });
      },
      Nothing{});
  const int warp_row = threadIdx.x / 32 * 16, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4,
            rows = d.r - j0 - warp_row;
  const int64_t pair = row * d.r + j0 + warp_row;
  const float f[2] = {g < rows ? scales.at(pair + g) : 1.0f, g + 8 < rows ? scales.at(pair + g + 8) : 1.0f};
#pragma unroll
  for (int n = 0; n < 8; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int column = 8 * n + 2 * t + e % 2;
      const float plus = bias && column < columns ? load(bias, z0 + column) : 0.0f, v = sums[0][n][e];
      sums[0][n][e] = before ? v * f[e / 2] + plus : (v + plus) * f[e / 2];
    }
  store_sums(sums, out + pair * d.cz + z0, d.cz, rows, columns, fours);
}

// dU. Blocks: rows m of the chunk, tiles of z, tiles of q.
template <class T, bool kScaled>
__global__ void __launch_bounds__(kThreads, 3)
    projection_gradient(Source dy, Source b, PairScales scales, T* du, Chunk k, bool fours) {
  using S = Steps<T, Along::rows, Along::rows>;
  RECKON_DYNAMIC_SHARED(T, stages);
  const OuterDims& d = k.d;
  const int q_tiles = (d.c + kN - 1) / kN, z_tiles = (d.cz + kM - 1) / kM;
  if (d.cz == 0) return;
  const int q0 = blockIdx.x % q_tiles * kN, z0 = blockIdx.x / q_tiles % z_tiles * kM,
            m = blockIdx.x / q_tiles / z_tiles, s = m % d.s;
  const int64_t row = k.first + m / d.s, batch = row / d.r;
  float sums[1][8][4];
  clear(sums);
  S::run(
      sums, stages, (d.r + kStep<T> - 1) / kStep<T>, d.cz - z0, d.c - q0,
      [&](int step, T* to) {
        const int j0 = step * kStep<T>;
        load_segments<kThreads, kStep<T>, 1, kM>(to, S::kRowOfA, dy, d.cz - z0, [&](int j, int) -> int64_t {
          return j0 + j < d.r ? (row * d.r + j0 + j) * d.cz + z0 : -1;
        });
      },
      [&](int step, T* to) {
        const int j0 = step * kStep<T>;
        const auto at = [&](int j, int) -> int64_t {
          return j0 + j < d.r ? ((batch * d.s + s) * d.r + j0 + j) * d.c + q0 : -1;
        };
        if constexpr (kScaled)
          load_segments<kThreads, kStep<T>, 1, kN>(to, S::kRowOfB, b, d.c - q0, at,
                                                   [&](int j) { return scales.of[row * d.r + j0 + j]; });
        else
          load_segments<kThreads, kStep<T>, 1, kN>(to, S::kRowOfB, b, d.c - q0, at);
      },
      Nothing{});
  if constexpr (!kScaled) {
#pragma unroll
    for (int n = 0; n < 8; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) sums[0][n][e] *= scales.constant;
  }
  const int warp_row = threadIdx.x / 32 * 16;
  store_sums(sums, du + (int64_t{m} * d.cz + z0 + warp_row) * d.c + q0, d.c, d.cz - z0 - warp_row, d.c - q0,
             fours);
}

// da[m, p] = sum over z and q of dU[m, z, q] W[z, p, q], a piece of the outputs z per blockIdx.y.
// Blocks: tiles of m, tiles of p.
template <class T>
__global__ void __launch_bounds__(kThreads, 3)
    projected_da(Source du, Source weight, Elements da, int64_t elements_of_piece, Chunk k,
                 int outputs_per_piece, bool pairs) {
  using S = Steps<T, Along::k, Along::k>;
  RECKON_DYNAMIC_SHARED(T, stages);
  const OuterDims& d = k.d;
  const int p_tiles = (d.c + kN - 1) / kN, p0 = blockIdx.x % p_tiles * kN, m0 = blockIdx.x / p_tiles * kM,
            rows = k.products() - m0;
  const int z0 = blockIdx.y * outputs_per_piece, outputs = min(outputs_per_piece, d.cz - z0),
            q_steps = (d.c + kStep<T> - 1) / kStep<T>;
  float sums[1][8][4];
  clear(sums);
  S::run(
      sums, stages, outputs * q_steps, rows, d.c - p0,
      [&](int step, T* to) {
        const int z = z0 + step / q_steps, q0 = step % q_steps * kStep<T>;
        load_segments<kThreads, kM, 1, kStep<T>>(to, S::kRowOfA, du, d.c - q0, [&](int m, int) -> int64_t {
          return m < rows ? (int64_t{m0 + m} * d.cz + z) * d.c + q0 : -1;
        });
      },
      [&](int step, T* to) {
        const int z = z0 + step / q_steps, q0 = step % q_steps * kStep<T>;
        load_segments<kThreads, kN, 1, kStep<T>>(to, S::kRowOfB, weight, d.c - q0, [&](int p, int) -> int64_t {
          return p0 + p < d.c ? (int64_t{z} * d.c + p0 + p) * d.c + q0 : -1;
        });
      },
      Nothing{});
  store_rows_at(sums, da, d.c - p0, pairs, [&](int m) -> int64_t {
    return m < rows ? blockIdx.y * elements_of_piece + k.in_a(m0 + m) + p0 : -1;
  });
}

// db[s, j, q] = sum over i and z of f_ij g_ijz U[i, s, z, q], a piece of the rows i of each batch
// element per blockIdx.y; the factors multiply the sums over z. Blocks: batch elements of the
// chunk, s, tiles of j, tiles of q.
template <class T>
__global__ void __launch_bounds__(kThreads, 2)
    projected_db(Source dy, Source u, PairScales scales, Elements db, int64_t elements_of_piece, Chunk k,
                 int rows_of_batch, int rows_per_piece, bool pairs) {
  using S = Steps<T, Along::k, Along::rows>;
  RECKON_DYNAMIC_SHARED(T, stages);
  const OuterDims& d = k.d;
  const int q_tiles = (d.c + kN - 1) / kN, j_tiles = (d.r + kM - 1) / kM,
            index = blockIdx.x / q_tiles / j_tiles;
  const int q0 = blockIdx.x % q_tiles * kN, j0 = blockIdx.x / q_tiles % j_tiles * kM, s = index % d.s;
  const int local0 = index / d.s * rows_of_batch + static_cast<int>(blockIdx.y) * rows_per_piece;
  const int rows = max(0, min(rows_per_piece, rows_of_batch - static_cast<int>(blockIdx.y) * rows_per_piece));
  const int64_t row0 = k.first + local0, batch = (k.first + index / d.s * rows_of_batch) / d.r;
  const int z_steps = (d.cz + kStep<T> - 1) / kStep<T>, warp_row = threadIdx.x / 32 * 16,
            g = threadIdx.x % 32 / 4;
  const auto result = [&](int j) -> int64_t {
    return j0 + j < d.r ? blockIdx.y * elements_of_piece + ((batch * d.s + s) * d.r + j0 + j) * d.c + q0 : -1;
  };
  float sums[1][8][4], total[1][8][4];
  clear(sums);
  clear(total);
  if (!k.begins) load_rows_at(total, db, d.c - q0, result);
  S::run(
      sums, stages, rows * z_steps, d.r - j0, d.c - q0,
      [&](int step, T* to) {
        const int i = step / z_steps, z0 = step % z_steps * kStep<T>;
        load_segments<kThreads, kM, 1, kStep<T>>(to, S::kRowOfA, dy, d.cz - z0, [&](int j, int) -> int64_t {
          return j0 + j < d.r ? ((row0 + i) * d.r + j0 + j) * d.cz + z0 : -1;
        });
      },
      [&](int step, T* to) {
        const int i = step / z_steps, z0 = step % z_steps * kStep<T>;
        load_segments<kThreads, kStep<T>, 1, kN>(to, S::kRowOfB, u, d.c - q0, [&](int z, int) -> int64_t {
          return z0 + z < d.cz ? ((int64_t{local0 + i} * d.s + s) * d.cz + z0 + z) * d.c + q0 : -1;
        });
      },
      [&](int step) {
        if ((step + 1) % z_steps != 0) return;
        const int64_t pair = (row0 + step / z_steps) * d.r + j0 + warp_row;
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const float f = j0 + warp_row + 8 * h + g < d.r ? scales.at(pair + 8 * h + g) : 0.0f;
#pragma unroll
          for (int n = 0; n < 8; ++n)
#pragma unroll
            for (int e = 0; e < 2; ++e) {
              total[0][n][2 * h + e] += f * sums[0][n][2 * h + e];
              sums[0][n][2 * h + e] = 0;
            }
        }
      });
  store_rows_at(total, db, d.c - q0, pairs, result);
}

// dW[z, p, q] = sum over m of a[m, p] dU[m, z, q]. Between chunks the sums wait in `sum`.
// Blocks: z, tiles of p, tiles of q.
template <class T>
__global__ void __launch_bounds__(kThreads, 3)
    projected_dweight(Source a, Source du, Elements dw, Elements sum, Chunk k, bool pairs) {
  using S = Steps<T, Along::rows, Along::rows>;
  RECKON_DYNAMIC_SHARED(T, stages);
  const OuterDims& d = k.d;
  if (d.cz == 0) return;
  const int q_tiles = (d.c + kN - 1) / kN, p_tiles = (d.c + kM - 1) / kM, z = blockIdx.x / q_tiles / p_tiles;
  const int q0 = blockIdx.x % q_tiles * kN, p0 = blockIdx.x / q_tiles % p_tiles * kM, products = k.products();
  const auto result = [&](int p) -> int64_t {
    return p0 + p < d.c ? (int64_t{z} * d.c + p0 + p) * d.c + q0 : -1;
  };
  float sums[1][8][4];
  clear(sums);
  if (!k.begins) load_rows_at(sums, sum, d.c - q0, result);
  S::run(
      sums, stages, (products + kStep<T> - 1) / kStep<T>, d.c - p0, d.c - q0,
      [&](int step, T* to) {
        const int m0 = step * kStep<T>;
        load_segments<kThreads, kStep<T>, 1, kM>(to, S::kRowOfA, a, d.c - p0, [&](int m, int) -> int64_t {
          return m0 + m < products ? k.in_a(m0 + m) + p0 : -1;
        });
      },
      [&](int step, T* to) {
        const int m0 = step * kStep<T>;
        load_segments<kThreads, kStep<T>, 1, kN>(to, S::kRowOfB, du, d.c - q0, [&](int m, int) -> int64_t {
          return m0 + m < products ? (int64_t{m0 + m} * d.cz + z) * d.c + q0 : -1;
        });
      },
      Nothing{});
  store_rows_at(sums, chosen(k.ends, dw, sum), d.c - q0, pairs, result);
}

Chunk chunk_of(const ProjectedChunks& chunks, int64_t k, const OuterSizes& n) {
  return {static_cast<int>(chunks.first(k)), static_cast<int>(chunks.size(k)), true, true, dims_of(n)};
}

template <class T>
Source of_workspace(std::byte* u, DType low, const OuterSizes& n) {
  return {{u, low}, n.c % kVector<T> == 0};
}

bool takes_pairs(const TensorArg& t, int64_t row) {
  return row % 2 == 0 && reinterpret_cast<uintptr_t>(t.data) % 8 == 0;
}

template <class T>
void launch_project_rows(const KernelArgs& a, int index, const TensorArg& left, const TensorArg& weight,
                         std::byte* u, const OuterSizes& n, const Chunk& k) {
  const int64_t blocks = ceil_div(k.rows * n.s, kM) * n.cz * ceil_div(n.c, kN);
  launch(a, index, project_rows<T>, blocks_for(blocks, 1), kThreads, Steps<T, Along::k, Along::rows>::kBytes,
         source_of(left, weight.dtype, n.c), source_of(weight, weight.dtype, n.c), reinterpret_cast<T*>(u), k,
         n.c % 4 == 0);
}

}  // namespace

void launch_projected_forward(KernelArgs& a, int launches, const OuterSizes& n, const PairScales& scales,
                              std::byte* u) {
  using In = OuterProductMeanInput;
  const TensorArg &weight = a.in[In::weight], &out = a.out[0];
  const bool before = a.as<OuterProductMeanAttrs>().normalize == OuterNormalize::divide_before;
  const DType low = weight.dtype;
  const ProjectedChunks chunks(n, low, a.library_workspace_bytes);
  with_type(low, [&](auto type) {
    using T = decltype(type);
    for (int64_t i = 0; i < chunks.count(); ++i) {
      const Chunk k = chunk_of(chunks, i, n);
      launch_project_rows<T>(a, launches++, a.in[In::a], weight, u, n, k);
      const int64_t blocks = k.rows * ceil_div(n.r, kM) * ceil_div(n.cz, kN);
      launch(a, launches++, multiply_projected<T>, blocks_for(blocks, 1), kThreads,
             Steps<T, Along::k, Along::k>::kBytes, of_workspace<T>(u, low, n), source_of(a.in[In::b], low, n.c),
             elements(a.in[In::bias]), scales, out.as<T>(), k, before, takes_fours(out, n.cz));
    }
  });
}

int launch_projected_backward(KernelArgs& a, int launches, const OuterSizes& n, const PairScales& scales,
                              const ProjectedGradients& g) {
  const DType low = g.weight.dtype;
  const ProjectedChunks chunks(n, low, a.library_workspace_bytes);
  const OuterPieces da_pieces = projected_da_pieces(n, chunks), db_pieces = projected_db_pieces(n, chunks);
  const int64_t elements_of_piece = g.a.numel();
  const auto pieces_or = [](float* pieces, const TensorArg& t) {
    return pieces ? Elements{pieces, DType::f32} : elements(t);
  };
  with_type(low, [&](auto type) {
    using T = decltype(type);
    const Source u = of_workspace<T>(g.u, low, n), dy = source_of(g.dy, low, n.cz),
                 left = source_of(g.a, low, n.c), right = source_of(g.b, low, n.c),
                 weight = source_of(g.weight, low, n.c);
    const int64_t q_tiles = ceil_div(n.c, kN);
    for (int64_t i = 0; i < chunks.count(); ++i) {
      Chunk k = chunk_of(chunks, i, n);
      if (g.db.defined()) {
        launch_project_rows<T>(a, launches++, g.a, g.weight, g.u, n, k);
        const int64_t rows_of_batch = chunks.per_batch ? k.rows : n.r;
        k.begins = chunks.per_batch == 0 || i % chunks.per_batch == 0;
        const dim3 grid(blocks_for(k.rows / rows_of_batch * n.s * ceil_div(n.r, kM) * q_tiles, 1),
                        static_cast<unsigned>(db_pieces.pieces));
        launch(a, launches++, projected_db<T>, grid, kThreads, Steps<T, Along::k, Along::rows>::kBytes, dy, u,
               scales, pieces_or(g.db_pieces, g.db), g.db_pieces ? elements_of_piece : 0, k, rows_of_batch,
               db_pieces.per_piece, g.db_pieces ? n.c % 2 == 0 : takes_pairs(g.db, n.c));
      }
      if (!g.da.defined() && !g.dweight.defined()) continue;
      const int64_t blocks = k.rows * n.s * ceil_div(n.cz, kM) * q_tiles;
      launch(a, launches++, scales.of ? projection_gradient<T, true> : projection_gradient<T, false>,
             blocks_for(blocks, 1), kThreads, Steps<T, Along::rows, Along::rows>::kBytes, dy, right, scales,
             reinterpret_cast<T*>(g.u), k, n.c % 4 == 0);
      if (g.da.defined()) {
        const dim3 grid(blocks_for(ceil_div(k.rows * n.s, kM) * q_tiles, 1),
                        static_cast<unsigned>(da_pieces.pieces));
        launch(a, launches++, projected_da<T>, grid, kThreads, Steps<T, Along::k, Along::k>::kBytes, u, weight,
               pieces_or(g.da_pieces, g.da), g.da_pieces ? elements_of_piece : 0, k, da_pieces.per_piece,
               g.da_pieces ? n.c % 2 == 0 : takes_pairs(g.da, n.c));
      }
      if (g.dweight.defined()) {
        k.begins = i == 0, k.ends = i + 1 == chunks.count();
        launch(a, launches++, projected_dweight<T>, blocks_for(n.cz * ceil_div(n.c, kM) * q_tiles, 1), kThreads,
               Steps<T, Along::rows, Along::rows>::kBytes, left, u, elements(g.dweight),
               Elements{g.weight_sum, DType::f32}, k, takes_pairs(g.dweight, n.c));
      }
    }
  });
  return launches;
}

}  // namespace reckon::ops::gpu
