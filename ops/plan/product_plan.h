// The plan of a product on a GPU: the launches and workspaces of its steps. GPU plans only.
#pragma once

#include "ops/kernel/plan/device_product.h"
#include "ops/op.h"

namespace reckon::ops {

// Shape, strides and type; no address, but something that is not null where the tensor is there.
inline TensorArg shape_of_argument(const Tensor& t) {
  TensorArg arg;
  if (!t.defined()) return arg;
  static std::byte present;
  arg = {&present, t.dtype(), t.rank()};
  for (int i = 0; i < t.rank(); ++i) {
    arg.shape[i] = t.shape()[i];
    arg.strides[i] = t.strides()[i];
  }
  return arg;
}

inline TensorArg shape_of_argument(const OutputSpec& o) {
  static std::byte present;
  TensorArg arg{&present, o.dtype, o.shape.rank()};
  for (int64_t i = o.shape.rank() - 1, step = 1; i >= 0; step *= o.shape[static_cast<int>(i--)]) {
    arg.shape[i] = o.shape[static_cast<int>(i)];
    arg.strides[i] = step;
  }
  return arg;
}

// Of products whose sums have no terms: the library does not take them (ops/kernel/gpu/empty_product.cuh).
inline void plan_empty_product(Plan& p) {
  p.workspaces = {};
  p.launches = {{"empty_product"}};
}

// In the order that run_product keeps to.
inline void append_product(Plan& p, const DeviceSpec& spec, const gpu::ProductSteps& s) {
  p.workspaces.push_back({"library workspace", spec.library_workspace_bytes});
  const auto pack = [&](const gpu::ProductSteps::Packed& packed, const char* label) {
    if (!packed.packs) return;
    p.workspaces.push_back({label, packed.bytes()});
    p.launches.push_back({"pack"});
  };
  pack(s.a, "packed a");
  pack(s.b, "packed b");
  pack(s.bias, "packed bias");
  const LaunchSpec product{s.call.batch.rank == 0 ? "gemm" : "batched_gemm", LaunchKind::library};
  for (int64_t i = 0; i < s.calls(); ++i) p.launches.push_back(product);
}

}  // namespace reckon::ops
