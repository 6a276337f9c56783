// The tile unit of AMX for bf16: its configuration, and how operands become tiles of 1 KiB: 16 lanes by 32
// steps of k, rows of a lane by lane, b as pairs of steps. Included by *_amx.cpp only.
#pragma once

#include "ops/kernel/cpu/gemm_simd.h"

namespace reckon::ops::RECKON_ISA {
namespace {

constexpr int kTileLanes = 16;  // rows of a or columns of b in a tile
constexpr int kTileSteps = 32;  // of k
constexpr int kTileElements = kTileLanes * kTileSteps;

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// A bf16 operand seen as lanes (rows of a, columns of b) by steps.
struct Lanes {
  const bf16* data;
  int64_t lane_stride, step_stride;
};

RECKON_INLINE __mmask32 first_steps(int64_t n) {
  return n >= kTileSteps ? ~__mmask32{0} : static_cast<__mmask32>((1u << n) - 1u);
}

// A tile as 16 vectors. Lane-major: vector l holds the 32 steps of lane l. Pair-major: vector r holds steps 2r
// and 2r + 1 of each lane.
enum class Order { lane_major, pair_major };

template <Order ORDER>
RECKON_INLINE void read_whole_tile(const Lanes& from, Floats (&rows)[kTileLanes]) {
#pragma GCC unroll 16
  for (int i = 0; i < kTileLanes; ++i) {
    if constexpr (ORDER == Order::lane_major) {
      rows[i] = read<Floats>(from.data + i * from.lane_stride);
    } else {
      const bf16* pair = from.data + 2 * i * from.step_stride;
      const Words even = __builtin_convertvector(read<Halves>(pair), Words);
      const Words odd = __builtin_convertvector(read<Halves>(pair + from.step_stride), Words);
      rows[i] = reinterpret_cast<Floats>(even | odd << 16);
    }
  }
}

template <Order ORDER>
inline void read_part_of_tile(const Lanes& from, int64_t lanes, int64_t steps, Floats (&rows)[kTileLanes]) {
  const auto step = [&](int64_t p) {
    return p < steps ? __builtin_convertvector(read_halves(from.data + p * from.step_stride, lanes), Words)
                     : Words{};
  };
  for (int i = 0; i < kTileLanes; ++i) {
    if constexpr (ORDER == Order::pair_major)
      rows[i] = reinterpret_cast<Floats>(step(2 * i) | step(2 * i + 1) << 16);
    else
      rows[i] = i < lanes
                    ? (Floats)_mm512_maskz_loadu_epi16(first_steps(steps), from.data + i * from.lane_stride)
                    : Floats{};
  }
}

// While it lives, the thread's tile unit holds eight tiles of 16 rows of 64 bytes.
class TileUnit {
 public:
  TileUnit() {
    const TileConfig config;
    __asm__ volatile("" ::"r"(&config) : "memory");  // the load below names eight bytes of it only
    _tile_loadconfig(&config);
  }
  ~TileUnit() { _tile_release(); }
  TileUnit(const TileUnit&) = delete;
  TileUnit& operator=(const TileUnit&) = delete;
};

// Tile loads do not tell the compiler that they read memory.
RECKON_INLINE void finish_pending_stores() { __asm__ volatile("" ::: "memory"); }

}  // namespace
}  // namespace reckon::ops::RECKON_ISA
