// What the plans of fused ops share: the scratch of their products, the types of their gradients, and the order
// of what backward reads. Plans and backward functions only.
#pragma once

#include <algorithm>

#include "ops/cast/cast.h"
#include "ops/kernel/cpu/norm_rows.h"
#include "ops/op.h"
#include "ops/rules.h"

namespace reckon::ops {

// Largest scratch of a set of products. Every product must be added with the very sizes it runs with.
class GemmScratch {
 public:
  explicit GemmScratch(const DeviceSpec& spec) : spec_(spec) {}
  void add(int64_t m, int64_t n, int64_t k, DType a, DType b, DType c, int64_t batch = 1) {
    bytes_ = std::max(bytes_, batched_gemm_workspace_bytes(m, n, k, batch, a, b, c, spec_.threads,
                                                           static_cast<IsaLevel>(spec_.isa_level)));
  }
  size_t bytes() const { return std::max<size_t>(bytes_, kGemmWorkspaceAlignment); }

 private:
  const DeviceSpec& spec_;
  size_t bytes_ = 0;
};

// Heights of the row tiles: all but the last, and the last.
struct TileHeights {
  TileHeights(int64_t rows, int64_t tile)
      : full(std::min(rows, tile)), last(full > 0 && rows % tile ? rows % tile : full) {}
  int64_t full, last;
};

inline size_t bytes_of(int64_t elements, DType t) {
  return static_cast<size_t>(
      std::max<int64_t>(checked_multiply(elements, static_cast<int64_t>(size_of(t)), "bytes"), 64));
}

inline int64_t matmul_flops(int64_t m, int64_t n, int64_t k) {
  return checked_multiply(checked_multiply(2 * m, n, "FLOPs"), k, "FLOPs");
}

// The launches and workspaces of an op whose steps on a GPU are listed by `s`, one launch each.
template <class Steps>
void follow_steps(const Steps& s, Plan& p) {
  p.workspaces = {};
  p.launches = {};
  for (int b = 0; b < Steps::kBuffers; ++b) {
    const auto buffer = static_cast<typename Steps::Buffer>(b);
    if (const size_t bytes = s.bytes(buffer); bytes > 0) p.workspaces.push_back({Steps::label(buffer), bytes});
  }
  s.for_each([&](typename Steps::Step step, auto...) {
    p.launches.push_back({s.name(step), Steps::is_product(step) ? LaunchKind::library : LaunchKind::kernel});
  });
}

// The outputs of a backward op: the gradients of the forward inputs that `needs` names, in their
// order. Those of parameters are sums over rows and stay in the type they are summed in; a cast
// weight's gradient is wanted so.
struct GradientPlan {
  Plan& plan;
  uint32_t needs;

  void add(int input, const Shape& shape, DType dtype, const char* label) const {
    if ((needs >> input) & 1u) plan.outputs.push_back({.shape = shape, .dtype = dtype, .label = label});
  }
  void add_parameter(int input, const Shape& shape, DType dtype, const char* label) const {
    add(input, shape, accumulation_dtype(dtype), label);
  }
};

// The gradient of the first output, contiguous, and no longer held by the context.
inline Tensor take_gradient(BackwardContext& c) {
  const Tensor g = contiguous(c.grads[0]);
  c.grads[0] = {};
  return g;
}

// Absent optional inputs have no axes.
inline bool was_given(const BackwardContext& c, int input) {
  return c.input_shapes[static_cast<size_t>(input)].rank() > 0;
}

// Reads BackwardContext::saved in the order in which the plan listed it.
class SavedReader {
 public:
  explicit SavedReader(const BackwardContext& c) : saved_(c.saved) {}
  Tensor take(bool was_kept = true) { return was_kept ? saved_[next_++] : Tensor{}; }

 private:
  std::span<const Tensor> saved_;
  size_t next_ = 0;
};

// Puts a backward op's outputs where the forward inputs stand.
inline TensorList by_input(const TensorList& outputs, uint32_t needs, size_t n_inputs) {
  TensorList grads(n_inputs);
  size_t next = 0;
  for (size_t i = 0; i < n_inputs; ++i)
    if ((needs >> i) & 1u) grads[i] = outputs[next++];
  return grads;
}

// Fused ops compute f64 only when all their floating inputs are f64, and their weights share one type.
void check_fused_types(std::span<const Tensor> in, uint32_t weight_inputs, const char* op);

}  // namespace reckon::ops
