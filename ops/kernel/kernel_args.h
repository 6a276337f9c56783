// What a kernel sees: plain spans of memory, its attributes, the number of threads. It cannot allocate. Every
// piece of work announces itself with `args.launch(i)`, in the order of the plan.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/core/dtype.h"
#include "runtime/core/rank.h"

namespace reckon::ops {

// Attributes of an op call: each op derives its own, read-only once made.
struct Attrs {
  virtual ~Attrs() = default;
};

struct TensorArg {
  std::byte* data = nullptr;
  DType dtype = DType::f32;
  int rank = 0;
  int64_t shape[kMaxRank] = {};
  int64_t strides[kMaxRank] = {};  // elements

  RECKON_INLINE bool defined() const { return data != nullptr; }
  template <class T>
  RECKON_INLINE T* as() const {
    return reinterpret_cast<T*>(data);
  }
  RECKON_INLINE int64_t numel() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= shape[i];
    return n;
  }
  RECKON_INLINE int64_t last() const { return rank > 0 ? shape[rank - 1] : 1; }
  RECKON_INLINE int64_t rows() const { return last() > 0 ? numel() / last() : 0; }  // all axes but the last
};

struct KernelArgs {
  const TensorArg* in = nullptr;
  int n_in = 0;
  const TensorArg* out = nullptr;
  int n_out = 0;
  std::byte* const* workspace = nullptr;
  const Attrs* attrs = nullptr;
  int threads = 1;
  int isa_level = 0;
  void* stream = nullptr;              // of a GPU: where the work is queued
  void* context = nullptr;             // of a GPU: what library calls need (handles)
  size_t library_workspace_bytes = 0;  // of a GPU: DeviceSpec's
  void* recorder = nullptr;            // dispatch's; only `launch` uses these two
  void (*note_launch)(void* recorder, int index) = nullptr;

  // The door for launches (ops/op.h says what a door is), as seen from a kernel.
  void launch(int index) const { note_launch(recorder, index); }
  template <class A>
  RECKON_INLINE const A& as() const {
    return static_cast<const A&>(*attrs);
  }
};

// Positions of inputs as the bits of a mask.
template <class... Positions>
RECKON_INLINE constexpr uint32_t input_bits(Positions... positions) {
  return (0u | ... | (1u << positions));
}

}  // namespace reckon::ops

// In an op's .cpp: declares the three builds of a kernel (see cmake/ReckonKernels.cmake)
// and names them as a CpuKernel.
#define RECKON_DECLARE_CPU_KERNEL(kernel)  \
  namespace reckon::ops::isa_v1 {          \
  void kernel(::reckon::ops::KernelArgs&); \
  }                                        \
  namespace reckon::ops::isa_v3 {          \
  void kernel(::reckon::ops::KernelArgs&); \
  }                                        \
  namespace reckon::ops::isa_v4 {          \
  void kernel(::reckon::ops::KernelArgs&); \
  }

#define RECKON_CPU_KERNEL(kernel)                                                                   \
  ::reckon::ops::CpuKernel {                                                                        \
    { ::reckon::ops::isa_v1::kernel, ::reckon::ops::isa_v3::kernel, ::reckon::ops::isa_v4::kernel } \
  }
