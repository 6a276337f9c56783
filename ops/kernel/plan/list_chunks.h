// How a list of tensors is dealt out to a GPU: every tensor in chunks, a block each, and as many
// tensors to a launch as its parameters hold. Depends on the sizes alone. For plans and kernels; the
// CPU's chunks are in tensor_list.h.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

inline constexpr int kTensorsPerLaunch = 1024;

// Elements of a chunk: a tensor has at most 1024, so that a warp can add up what they leave.
RECKON_INLINE constexpr int64_t gpu_list_chunk(int64_t n_elements) {
  const int64_t chunk = ((n_elements + 1023) / 1024 + 1023) / 1024 * 1024;
  return chunk < 16384 ? 16384 : chunk;
}
// At least one: an empty tensor leaves a result too.
RECKON_INLINE constexpr int64_t gpu_list_chunks(int64_t n_elements) {
  const int64_t chunk = gpu_list_chunk(n_elements), chunks = (n_elements + chunk - 1) / chunk;
  return chunks < 1 ? 1 : chunks;
}
RECKON_INLINE constexpr int gpu_list_launches(int64_t n_tensors) {
  return n_tensors < 1 ? 1 : static_cast<int>((n_tensors + kTensorsPerLaunch - 1) / kTensorsPerLaunch);
}

}  // namespace reckon::ops
