#include "ops/kernel/cpu/gemm.h"

#include <omp.h>

#include <algorithm>
#include <utility>

#include "ops/kernel/cpu/gemm_job.h"
#include "runtime/core/error.h"

namespace reckon::ops {
namespace {

enum class SumType { f32, f64, tiles };

SumType sum_type(DType a, DType b, IsaLevel level) {
  if (a == DType::f64) return SumType::f64;
  return level == IsaLevel::amx && a == DType::bf16 && b == DType::bf16 ? SumType::tiles : SumType::f32;
}

int64_t ceil_div(int64_t x, int64_t y) { return (x + y - 1) / y; }
int64_t round_up(int64_t x, int64_t unit) { return ceil_div(x, unit) * unit; }
size_t aligned(int64_t bytes) { return static_cast<size_t>(round_up(bytes, kGemmWorkspaceAlignment)); }

// Must agree with kMicroRows and kPanel of the kernels.
GemmTile tile_of(SumType type, IsaLevel level) {
  if (type == SumType::tiles) return {32, 32, 32};
  const int narrower = type == SumType::f64 ? 2 : 1;
  switch (level) {
    case IsaLevel::v1:
      return {6, 8 / narrower, 8};
    case IsaLevel::v3:
      return {6, 16 / narrower, 8};
    case IsaLevel::v4:
    case IsaLevel::amx:
      break;
  }
  return {14, 32 / narrower, 16};
}

// Multiply-adds below which waking a second thread costs more than it saves (about 10 us of work).
int64_t parallel_threshold(SumType type, IsaLevel level) {
  if (type == SumType::tiles) return 1 << 21;
  return level == IsaLevel::v1 ? 1 << 17 : (level == IsaLevel::v3 ? 1 << 18 : 1 << 19);
}

// Splits `extent` into equal blocks of at most `limit`, each a multiple of `unit` but the last.
void split(int64_t extent, int64_t limit, int64_t unit, int64_t& size, int64_t& count) {
  count = std::max<int64_t>(1, ceil_div(extent, limit));
  size = std::max<int64_t>(unit, round_up(ceil_div(extent, count), unit));
  count = std::max<int64_t>(1, ceil_div(extent, size));
}

GemmBlocking block(int64_t m, int64_t n, int64_t k, int64_t batch, DType a, DType b, DType c, int threads,
                   IsaLevel level) {
  const SumType type = sum_type(a, b, level);
  const bool tiles = type == SumType::tiles;
  const int64_t sum_bytes = type == SumType::f64 ? 8 : 4;
  GemmBlocking r{};
  r.tile = tile_of(type, level);

  // k: the order of the sums, so it follows from k and the level only. A row panel of this depth stays in the
  // first-level cache while column panels pass; the tile units can work from the second.
  const int64_t depth = tiles ? 2048 : (type == SumType::f64 ? 224 : 448);
  split(k, depth, tiles ? 32 : 8, r.kc, r.k_blocks);
  const bool keeps_partial_sums = c != DType::f32 && c != DType::f64 && r.k_blocks > 1;

  // n: the packed block of b takes half of a 2 MiB second-level cache at most. m: large enough to make packing
  // b cheap, small enough that partial sums stay near.
  const int64_t packed_element = tiles ? 2 : sum_bytes;
  int64_t n_limit = std::clamp<int64_t>((1 << 20) / (packed_element * r.kc), r.tile.cols, 1024);
  int64_t m_limit = 2048;
  if (keeps_partial_sums) n_limit = std::min<int64_t>(n_limit, 512), m_limit = 512;
  n_limit = std::max<int64_t>(r.tile.cols, n_limit / r.tile.cols * r.tile.cols);

  const double multiply_adds =
      static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) * static_cast<double>(batch);
  const int64_t threshold = parallel_threshold(type, level);
  r.threads = multiply_adds < static_cast<double>(threshold) ? 1 : threads;

  const auto blocked = [&] {
    split(n, n_limit, r.tile.cols, r.nc, r.n_blocks);
    split(m, m_limit, r.tile.rows, r.mc, r.m_blocks);
    return batch * r.n_blocks * r.m_blocks;
  };
  // Smaller tasks until the threads can share them evenly, but none below the threshold's size.
  int64_t tasks = blocked();
  const int64_t wanted = r.threads == 1 ? 1 : 4 * static_cast<int64_t>(r.threads);
  while (tasks < wanted && multiply_adds / static_cast<double>(tasks) > static_cast<double>(threshold)) {
    // Each thread packs a block of b once, but a panel of a for every block of columns; the tile units have a
    // transposed where it is a weight's gradient, so their tasks are split along its rows first.
    const bool n_can = r.nc > 2 * r.tile.cols && (!tiles || tasks < r.threads),
               m_can = r.mc > (tiles ? 1 : 4) * r.tile.rows;
    if (!n_can && !m_can) break;
    if (m_can && (!n_can || tiles || r.mc >= r.nc))
      m_limit = round_up(ceil_div(r.mc, 2), r.tile.rows);
    else
      n_limit = round_up(ceil_div(r.nc, 2), r.tile.cols);
    tasks = blocked();
  }
  r.threads = static_cast<int>(std::min<int64_t>(r.threads, std::max<int64_t>(1, tasks)));

  // Rows of packed a lie an odd number of cache lines apart, so that they spread over the sets of the cache.
  r.a_pitch = tiles ? r.kc : (round_up(r.kc, 16) / 16 | 1) * 16;
  const int64_t a_elements = std::max(r.tile.rows * r.a_pitch, r.kc * r.tile.steps_pitch);
  const size_t b_bytes = aligned(r.kc * r.nc * packed_element);
  const size_t a_bytes = aligned(a_elements * packed_element);
  const size_t c_bytes = keeps_partial_sums ? aligned(r.mc * r.nc * sum_bytes) : 0;
  r.a_offset = b_bytes;
  r.c_offset = r.a_offset + a_bytes;
  r.bias_offset = r.c_offset + c_bytes;
  r.slice_bytes = r.bias_offset + aligned(round_up(std::max(r.mc, r.nc), 32) * sum_bytes);
  return r;
}

size_t workspace_of(const GemmBlocking& b) { return b.slice_bytes * static_cast<size_t>(b.threads); }

bool mixes_with_f32(DType t) { return t == DType::f32 || t == DType::bf16 || t == DType::f16; }

void check_types(DType a, DType b, DType c) {
  const bool all_f64 = a == DType::f64 && b == DType::f64 && c == DType::f64;
  RECKON_CHECK(all_f64 || (mixes_with_f32(a) && mixes_with_f32(b) && mixes_with_f32(c)),
               "matrix product of {} and {} into {}: expected any mix of f32, bf16 and f16, or f64 throughout "
               "(cast the odd one first)",
               name_of(a), name_of(b), name_of(c));
}

void check(const GemmProblem& p, const GemmBatch& batch, const void* workspace, int threads, IsaLevel level) {
  RECKON_CHECK(p.m >= 0 && p.n >= 0 && p.k >= 0, "matrix product {} x {} x {} (m, n, k): expected sizes >= 0",
               p.m, p.n, p.k);
  check_types(p.a.dtype, p.b.dtype, p.c_dtype);
  RECKON_CHECK(p.bias == nullptr ||
                   (p.c_dtype == DType::f64 ? p.bias_dtype == DType::f64 : mixes_with_f32(p.bias_dtype)),
               "matrix product into {} with a bias of {}: expected f32, bf16 or f16, or f64 with f64",
               name_of(p.c_dtype), name_of(p.bias_dtype));
  const bool writes = p.m > 0 && p.n > 0;
  RECKON_CHECK(!writes || ((p.m <= 1 || p.c_row_stride != 0) && (p.n <= 1 || p.c_col_stride != 0)),
               "matrix product into c of {} x {} with strides {}, {}: elements of c must not share an address",
               p.m, p.n, p.c_row_stride, p.c_col_stride);
  RECKON_CHECK(threads >= 1, "matrix product on {} threads: expected at least one", threads);
  RECKON_CHECK(level <= machine_isa_level(), "matrix product at level {}: this machine offers {} at most",
               name_of(level), name_of(machine_isa_level()));
  RECKON_CHECK(workspace != nullptr && reinterpret_cast<uintptr_t>(workspace) % kGemmWorkspaceAlignment == 0,
               "matrix product with a workspace at {}: expected gemm_workspace_bytes() bytes aligned to {}",
               workspace, kGemmWorkspaceAlignment);
  RECKON_CHECK(batch.rank >= 0 && batch.rank <= GemmBatch::kMaxRank, "batch of rank {}: expected 0 to {}",
               batch.rank, GemmBatch::kMaxRank);
  for (int d = 0; d < batch.rank; ++d)
    RECKON_CHECK(!writes || batch.size[d] <= 1 || batch.c_stride[d] != 0,
                 "batch dimension {} of size {} has stride 0 in c: products would overwrite each other", d,
                 batch.size[d]);
}

GemmEntry entry_of(SumType type, IsaLevel level) {
  if (type == SumType::tiles) return isa_amx::gemm_tasks;
  switch (level) {
    case IsaLevel::v1:
      return isa_v1::gemm_tasks;
    case IsaLevel::v3:
      return isa_v3::gemm_tasks;
    case IsaLevel::v4:
    case IsaLevel::amx:
      break;
  }
  return isa_v4::gemm_tasks;
}

// c's unit stride goes along the columns: otherwise the transposed product is computed.
void orient(GemmJob& job) {
  GemmProblem& p = job.problem;
  const bool columns_are_dense = p.c_col_stride == 1 && p.n > 1;
  job.bias_on_rows = !columns_are_dense && p.c_row_stride == 1 && p.m > 1;
  if (!job.bias_on_rows) return;
  std::swap(p.m, p.n);
  std::swap(p.a, p.b);
  std::swap(p.a.row_stride, p.a.col_stride);
  std::swap(p.b.row_stride, p.b.col_stride);
  std::swap(p.c_row_stride, p.c_col_stride);
  std::swap(job.batch.a_stride, job.batch.b_stride);
}

}  // namespace

size_t batched_gemm_workspace_bytes(int64_t m, int64_t n, int64_t k, int64_t batch, DType a, DType b, DType c,
                                    int threads, IsaLevel level) {
  check_types(a, b, c);
  RECKON_CHECK(threads >= 1, "workspace of a matrix product on {} threads: expected at least one", threads);
  return std::max(workspace_of(block(m, n, k, batch, a, b, c, threads, level)),
                  workspace_of(block(n, m, k, batch, b, a, c, threads, level)));
}

size_t gemm_workspace_bytes(int64_t m, int64_t n, int64_t k, DType a, DType b, DType c, int threads,
                            IsaLevel level) {
  return batched_gemm_workspace_bytes(m, n, k, 1, a, b, c, threads, level);
}

void batched_gemm(const GemmProblem& problem, const GemmBatch& batch, void* workspace, int threads,
                  IsaLevel level) {
  check(problem, batch, workspace, threads, level);
  const int64_t products = batch.count();
  if (problem.m == 0 || problem.n == 0 || products == 0) return;

  GemmJob job{};
  job.problem = problem;
  job.batch = batch;
  orient(job);
  const GemmProblem& p = job.problem;
  job.blocking = block(p.m, p.n, p.k, products, p.a.dtype, p.b.dtype, p.c_dtype, threads, level);
  job.n_tasks = products * job.blocking.m_blocks * job.blocking.n_blocks;
  const GemmEntry run = entry_of(sum_type(p.a.dtype, p.b.dtype, level), level);

  const int used = job.blocking.threads;
  if (used == 1) {
    GemmPackedB packed;
    run(job, 0, job.n_tasks, workspace, packed);
    return;
  }
  // Chunks are handed out on demand, since other processes may slow a core down; each task gives
  // the same bits wherever it runs.
  const int64_t chunk = std::max<int64_t>(1, job.n_tasks / (used * 8));
  const int64_t chunks = ceil_div(job.n_tasks, chunk);
#pragma omp parallel num_threads(used)
  {
    void* slice =
        static_cast<char*>(workspace) + static_cast<size_t>(omp_get_thread_num()) * job.blocking.slice_bytes;
    GemmPackedB packed;
#pragma omp for schedule(dynamic, 1) nowait
    for (int64_t i = 0; i < chunks; ++i)
      run(job, i * chunk, std::min(job.n_tasks, (i + 1) * chunk), slice, packed);
  }
}

void gemm(const GemmProblem& problem, void* workspace, int threads, IsaLevel level) {
  batched_gemm(problem, GemmBatch{}, workspace, threads, level);
}

}  // namespace reckon::ops
