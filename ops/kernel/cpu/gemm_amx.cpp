// bf16 x bf16 products on AMX tiles with sums in f32. One task computes an mc x nc part of c; both operands are
// packed into 1 KiB tiles, a as 16 rows of 32 steps, b as 16 pairs of steps of 16 columns. Four accumulator
// tiles hold 32 x 32 of c. Steps past k are zero on both sides.
#include "ops/kernel/cpu/amx_tiles.h"
#include "ops/kernel/cpu/gemm_store.h"

namespace reckon::ops::RECKON_ISA {
namespace {

constexpr int kPanel = 2 * kTileLanes;

void gather_tile(const Lanes& from, int64_t lanes, int64_t steps, Floats (&rows)[kTileLanes]) {
  alignas(64) bf16 gathered[kTileElements] = {};
  for (int64_t l = 0; l < lanes; ++l)
    for (int64_t p = 0; p < steps; ++p)
      gathered[l * kTileSteps + p] = from.data[l * from.lane_stride + p * from.step_stride];
  for (int l = 0; l < kTileLanes; ++l) rows[l] = read<Floats>(gathered + l * kTileSteps);
}

// Packs `lanes` (at most 32) by `steps`: per tile of steps first the tile of lanes 0..15, then that of 16..31.
template <Order PACKED>
void pack_panel(const Lanes& from, int64_t lanes, int64_t steps, bf16* out) {
  for (int64_t p = 0; p < steps; p += kTileSteps) {
    for (int64_t lane = 0; lane < lanes; lane += kTileLanes) {
      const int64_t tile_lanes = smaller(kTileLanes, lanes - lane), tile_steps = smaller(kTileSteps, steps - p);
      const bool whole = tile_lanes == kTileLanes && tile_steps == kTileSteps;
      const Lanes corner{from.data + lane * from.lane_stride + p * from.step_stride, from.lane_stride,
                         from.step_stride};
      float* to = reinterpret_cast<float*>(out + (p / kTileSteps * 2 + lane / kTileLanes) * kTileElements);
      Floats rows[kTileLanes];
      if (whole && from.step_stride == 1) {
        read_whole_tile<Order::lane_major>(corner, rows);
        if constexpr (PACKED == Order::pair_major) transpose(rows);
#pragma GCC unroll 16
        for (int i = 0; i < kTileLanes; ++i) store(to + i * kTileLanes, rows[i]);
        continue;
      }
      if (whole && from.lane_stride == 1) {
        read_whole_tile<Order::pair_major>(corner, rows);
        if constexpr (PACKED == Order::lane_major) transpose(rows);
#pragma GCC unroll 16
        for (int i = 0; i < kTileLanes; ++i) store(to + i * kTileLanes, rows[i]);
        continue;
      }
      const bool pair_major = from.step_stride != 1 && from.lane_stride == 1;
      if (pair_major)
        read_part_of_tile<Order::pair_major>(corner, tile_lanes, tile_steps, rows);
      else if (from.step_stride == 1)
        read_part_of_tile<Order::lane_major>(corner, tile_lanes, tile_steps, rows);
      else
        gather_tile(corner, tile_lanes, tile_steps, rows);
      if (pair_major != (PACKED == Order::pair_major)) transpose(rows);
      for (int i = 0; i < kTileLanes; ++i) store(to + i * kTileLanes, rows[i]);
    }
  }
}

// Where the tiles of a row panel of a lie: packed, or in place.
struct TilesOfA {
  const bf16* data;
  int64_t row_bytes;   // from one row of a tile to the next
  int64_t next_tile;   // elements to the tile of the next steps
  int64_t lower_half;  // elements to the tile of rows 16..31
};

// sums (pitch 32) = a * b over `tiles` tiles of steps; ROWS, COLUMNS: accumulator tiles in use each way.
template <int ROWS, int COLUMNS>
void multiply_tiles(const TilesOfA& tiles_of_a, const bf16* b, int64_t tiles, float* sums) {
  constexpr int bytes = kTileSteps * 2;
  const bf16* a = tiles_of_a.data;
  const int64_t a_bytes = tiles_of_a.row_bytes, a_next = tiles_of_a.next_tile, a_lower = tiles_of_a.lower_half;
  finish_pending_stores();
  _tile_zero(0);
  if constexpr (COLUMNS > 1) _tile_zero(1);
  if constexpr (ROWS > 1) _tile_zero(2);
  if constexpr (ROWS > 1 && COLUMNS > 1) _tile_zero(3);
  for (int64_t t = 0; t < tiles; ++t, a += a_next, b += 2 * kTileElements) {
    _tile_loadd(4, a, a_bytes);
    _tile_loadd(6, b, bytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (COLUMNS > 1) {
      _tile_loadd(7, b + kTileElements, bytes);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (ROWS > 1) {
      _tile_loadd(5, a + a_lower, a_bytes);
      _tile_dpbf16ps(2, 5, 6);
    }
    if constexpr (ROWS > 1 && COLUMNS > 1) _tile_dpbf16ps(3, 5, 7);
  }
  constexpr int pitch = kPanel * 4;
  _tile_stored(0, sums, pitch);
  if constexpr (COLUMNS > 1) _tile_stored(1, sums + kTileLanes, pitch);
  if constexpr (ROWS > 1) _tile_stored(2, sums + kTileLanes * kPanel, pitch);
  if constexpr (ROWS > 1 && COLUMNS > 1) _tile_stored(3, sums + kTileLanes * kPanel + kTileLanes, pitch);
}

// The hardware conversion takes denormals as zero. Sums straight from the tile unit hold none and the two types
// have the same exponents, so it rounds exactly as the general path does.
void store_converted(const float* sums, int64_t rows, bf16* c, int64_t row_stride) {
  for (int64_t i = 0; i < rows; ++i) {
    const Floats low = load(sums + i * kPanel), high = load(sums + i * kPanel + kTileLanes);
    write(c + i * row_stride, _mm512_cvtne2ps_pbh((__m512)high, (__m512)low));
  }
}

// Whole lines of c that nobody reads soon: without fetching them first, and without
// pushing others out of the caches.
void store_past_caches(const float* sums, int64_t rows, float* c, int64_t row_stride) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < kPanel; j += kTileLanes)
      _mm512_stream_ps(c + i * row_stride + j, (__m512)load(sums + i * kPanel + j));
}

class TileProduct {
 public:
  TileProduct(const GemmJob& job, char* slice, GemmPackedB& packed)
      : job_(job),
        p_(job.problem),
        blocking_(job.blocking),
        packed_(packed),
        packed_b_(reinterpret_cast<bf16*>(slice)),
        packed_a_(reinterpret_cast<bf16*>(slice + job.blocking.a_offset)),
        partial_c_(reinterpret_cast<float*>(slice + job.blocking.c_offset)),
        bias_(reinterpret_cast<float*>(slice + job.blocking.bias_offset)),
        large_lines_(p_.c_dtype == DType::f32 && p_.c_col_stride == 1 && p_.c_row_stride % kTileLanes == 0 &&
                     p_.m * p_.n >= kPastCaches) {}

  void run(const GemmTask& task) {
    Finish<float> finish{static_cast<float>(p_.alpha), nullptr, nullptr, p_.accumulate};
    if (p_.bias != nullptr) {
      const int64_t count = job_.bias_on_rows ? task.rows : task.columns;
      load_bias(p_, job_.bias_on_rows ? task.row : task.column, count, (count + kPanel - 1) / kPanel * kPanel,
                bias_);
      (job_.bias_on_rows ? finish.row_bias : finish.column_bias) = bias_;
    }
    for (int64_t block = 0; block < blocking_.k_blocks; ++block) {
      const int64_t step = block * blocking_.kc;
      const int64_t steps = smaller(blocking_.kc, p_.k - step);
      pack_b(task, step, steps);
      for (int64_t row = 0; row < task.rows; row += kPanel) {
        const int64_t rows = smaller(kPanel, task.rows - row);
        const TilesOfA a = choose_a(task, step, steps, row, rows);
        for (int64_t column = 0; column < task.columns; column += kPanel)
          multiply_panel(task, finish, a, block, steps, row, rows, column);
      }
    }
  }

 private:
  static constexpr int64_t kPastCaches = int64_t{2} << 20;  // numbers; twice a large second-level cache

  // Whole tiles whose rows are dense are read in place: packing them would copy what is already in tile order.
  TilesOfA choose_a(const GemmTask& task, int64_t step, int64_t steps, int64_t row, int64_t rows) {
    const int64_t row_stride = p_.a.row_stride;
    const bf16* a =
        reinterpret_cast<const bf16*>(task.a) + (task.row + row) * row_stride + step * p_.a.col_stride;
    const bool whole = rows % kTileLanes == 0 && steps % kTileSteps == 0;
    const bool dense = p_.a.col_stride == 1 && row_stride <= 2 * steps;
    if (whole && dense) return {a, row_stride * 2, kTileSteps, kTileLanes * row_stride};
    pack_panel<Order::lane_major>({a, row_stride, p_.a.col_stride}, rows, steps, packed_a_);
    return {packed_a_, kTileSteps * 2, 2 * kTileElements, kTileElements};
  }

  void pack_b(const GemmTask& task, int64_t step, int64_t steps) {
    if (packed_.data == task.b && packed_.column == task.column && blocking_.k_blocks == 1) return;
    const bf16* b =
        reinterpret_cast<const bf16*>(task.b) + step * p_.b.row_stride + task.column * p_.b.col_stride;
    // Along the rows of b where those are dense, so that whole lines are read one after another.
    const int64_t at_once = p_.b.col_stride == 1 ? kTileSteps : steps;
    for (int64_t p = 0; p < steps; p += at_once)
      for (int64_t column = 0; column < task.columns; column += kPanel)
        pack_panel<Order::pair_major>(
            {b + p * p_.b.row_stride + column * p_.b.col_stride, p_.b.col_stride, p_.b.row_stride},
            smaller(kPanel, task.columns - column), smaller(at_once, steps - p),
            packed_b_ + column * blocking_.kc + p * kPanel);
    packed_ = {task.b, task.column};
  }

  void multiply_panel(const GemmTask& task, const Finish<float>& finish, const TilesOfA& a, int64_t block,
                      int64_t steps, int64_t row, int64_t rows, int64_t column) {
    const int64_t columns = smaller(kPanel, task.columns - column);
    const int64_t tiles = (steps + kTileSteps - 1) / kTileSteps;
    const bf16* b = packed_b_ + column * blocking_.kc;
    alignas(64) float sums[kPanel * kPanel];
    if (rows > kTileLanes)
      columns > kTileLanes ? multiply_tiles<2, 2>(a, b, tiles, sums) : multiply_tiles<2, 1>(a, b, tiles, sums);
    else
      columns > kTileLanes ? multiply_tiles<1, 2>(a, b, tiles, sums) : multiply_tiles<1, 1>(a, b, tiles, sums);

    const int64_t offset = (task.row + row) * p_.c_row_stride + (task.column + column) * p_.c_col_stride;
    const bool plain = finish.alpha == 1.0f && p_.bias == nullptr && !finish.add_c && blocking_.k_blocks == 1;
    if (plain && columns == kPanel && p_.c_dtype == DType::bf16 && p_.c_col_stride == 1) {
      store_converted(sums, rows, reinterpret_cast<bf16*>(task.c) + offset, p_.c_row_stride);
      return;
    }
    if (plain && columns == kPanel && large_lines_ && reinterpret_cast<uintptr_t>(task.c) % 64 == 0) {
      store_past_caches(sums, rows, reinterpret_cast<float*>(task.c) + offset, p_.c_row_stride);
      return;
    }
    Finish<float> stage = finish;
    if (blocking_.k_blocks > 1 && p_.c_dtype == DType::f32) {
      if (block > 0) stage = {finish.alpha, nullptr, nullptr, true};
    } else if (blocking_.k_blocks > 1) {
      const bool last = block + 1 == blocking_.k_blocks;
      add_partial(sums, partial_c_ + row * blocking_.nc + column, rows, columns, block > 0, last);
      if (!last) return;
    }
    if (stage.row_bias != nullptr) stage.row_bias += row;
    if (stage.column_bias != nullptr) stage.column_bias += column;
    finish_tile(stage, sums, kPanel, rows, columns, task.c, p_.c_dtype, offset, p_.c_row_stride,
                p_.c_col_stride);
  }

  // Sums of earlier blocks of k live in the slice where c is too narrow for them.
  void add_partial(float* sums, float* partial, int64_t rows, int64_t columns, bool add, bool last) const {
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < columns; j += kTileLanes) {
        float* kept = partial + i * blocking_.nc + j;
        Floats v = load(sums + i * kPanel + j);
        if (add) v += load(kept);
        store(last ? sums + i * kPanel + j : kept, v);
      }
    }
  }

  const GemmJob& job_;
  const GemmProblem& p_;
  const GemmBlocking& blocking_;
  GemmPackedB& packed_;
  bf16 *packed_b_, *packed_a_;
  float *partial_c_, *bias_;
  bool large_lines_;  // c is larger than the caches, and whole lines of it where it begins at one
};

}  // namespace

void gemm_tasks(const GemmJob& job, int64_t begin, int64_t end, void* slice, GemmPackedB& packed) {
  const TileUnit unit;
  TileProduct product(job, static_cast<char*>(slice), packed);
  for (int64_t i = begin; i < end; ++i) product.run(decode_task(job, i));
  _mm_sfence();  // stores past the caches are ordered by nothing else
}

}  // namespace reckon::ops::RECKON_ISA
