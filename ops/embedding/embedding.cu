// Rows of the table by index, and the table's gradient: rows of the output's gradient summed by index.
#include "ops/embedding/embedding_attrs.h"
#include "ops/kernel/gpu/gather_rows.cuh"
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/scatter_rows.cuh"

namespace reckon::ops::gpu {
namespace {

void embedding_gpu(KernelArgs& a) {
  const TensorArg &ids = a.in[embedding_in::ids], &table = a.in[embedding_in::table];
  gather_rows(a, table, ids, a.out[0], 1, table.shape[0],
              table.shape[1] * static_cast<int64_t>(size_of(table.dtype)));
}

void embedding_backward_gpu(KernelArgs& a) {
  const TensorArg& dtable = a.out[0];
  scatter_rows(a, a.in[embedding_backward_in::g], a.in[embedding_backward_in::ids], {}, dtable, 1,
               dtable.shape[0], dtable.shape[1]);
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(embedding) {
  return {{"embedding", embedding_gpu}, {"embedding_backward", embedding_backward_gpu}};
}
