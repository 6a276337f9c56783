// What the backward kernels' launches share; one .cu each, since they take long to compile.
#pragma once

#include "ops/attention/attention_problem.cuh"

namespace reckon::ops::gpu {

// Which rows share a bias, and how its gradient is cut into blocks.
struct SharedBias {
  int own_b = 1, own_n = 1;  // extents of the bias
  int ranges = 1;            // of the rows that share it
  int query_tiles = 0, key_tiles = 0;

  __device__ int sharers(const AttentionProblem& p) const { return (p.B / own_b) * (p.N / own_n); }
  // The first row of a range.
  __device__ int first(const AttentionProblem& p, int range) const {
    return static_cast<int>(int64_t{sharers(p)} * range / ranges);
  }
};

// Which tile of a shared bias a block owns, and which range of the rows.
struct BiasTile {
  int b, n, range, h, query_tile, key_tile;

  __device__ BiasTile(unsigned block, const SharedBias& s, unsigned heads) {
    const auto take = [&](unsigned extent) {
      const unsigned index = block % extent;
      block /= extent;
      return static_cast<int>(index);
    };
    key_tile = take(s.key_tiles), query_tile = take(s.query_tiles), h = take(heads);
    n = take(s.own_n), b = take(s.own_b), range = static_cast<int>(block);
  }
};

struct AttentionBackward {
  AttentionProblem p;
  Heads g;  // the gradient of the output
  const float *statistics = nullptr, *delta = nullptr;
  Heads dq, dk, dv, dbias;  // absent where not wanted
  SharedBias shared_bias;
  float* partial = nullptr;  // sums of the ranges, where there are several
  int64_t bias_size = 0;
  DType arithmetic = DType::f32;  // a 16-bit type: on the tensor cores
};

void launch_dk_dv(KernelArgs& a, int index, const AttentionBackward& w);
void launch_dq(KernelArgs& a, int index, const AttentionBackward& w, bool wants_bias);
void launch_dbias(KernelArgs& a, int index, const AttentionBackward& w);

inline unsigned attention_blocks(int64_t heads, int length, int edge, int* tiles) {
  *tiles = (length + edge - 1) / edge;
  return blocks_for(heads * *tiles, 1);
}

}  // namespace reckon::ops::gpu
