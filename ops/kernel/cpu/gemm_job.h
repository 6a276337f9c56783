// What gemm.cpp hands to the per-level kernels: a product brought into one orientation, its
// blocking, and the entry of each level. Plain data and declarations only, because inline functions
// here would be shared between levels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/kernel/cpu/gemm.h"

namespace reckon::ops {

// Register tiles. A kernel handles at most `rows` x `cols` of c at once; `steps_pitch` is the row length of a
// panel of a stored depth-first.
struct GemmTile {
  int rows, cols, steps_pitch;
};

struct GemmBlocking {
  GemmTile tile;
  int64_t kc, k_blocks;  // depth of one packed block
  int64_t mc, m_blocks;  // rows and columns of one task
  int64_t nc, n_blocks;
  int64_t a_pitch;                         // elements between packed rows of a
  size_t a_offset, c_offset, bias_offset;  // into a thread's slice; packed b lies at 0
  size_t slice_bytes;
  int threads;  // threads that get a slice
};

struct GemmJob {
  GemmProblem problem;  // oriented so that c_col_stride is the unit stride where there is one
  bool bias_on_rows;    // the orientation was swapped, so bias has m elements
  GemmBatch batch;
  GemmBlocking blocking;
  int64_t n_tasks;  // products x n_blocks x m_blocks, the last fastest
};

// Which block of b a thread's slice holds, so that tasks sharing it pack it once.
struct GemmPackedB {
  const void* data = nullptr;
  int64_t column = -1;
};

// Runs tasks [begin, end) with one thread's slice of the workspace.
using GemmEntry = void (*)(const GemmJob& job, int64_t begin, int64_t end, void* slice, GemmPackedB& packed);

namespace isa_v1 {
void gemm_tasks(const GemmJob& job, int64_t begin, int64_t end, void* slice, GemmPackedB& packed);
}
namespace isa_v3 {
void gemm_tasks(const GemmJob& job, int64_t begin, int64_t end, void* slice, GemmPackedB& packed);
}
namespace isa_v4 {
void gemm_tasks(const GemmJob& job, int64_t begin, int64_t end, void* slice, GemmPackedB& packed);
}
namespace isa_amx {
void gemm_tasks(const GemmJob& job, int64_t begin, int64_t end, void* slice, GemmPackedB& packed);
}

}  // namespace reckon::ops
