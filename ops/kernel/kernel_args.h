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
  RECKON_INLINE int64_t rows() const {  // all axes but the last
    int64_t n = 1;
    for (int i = 0; i < rank - 1; ++i) n *= shape[i];
    return n;
  }
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

using KernelFn = void (*)(KernelArgs&);
struct Counted;  // the scalar that counts what it computes (ops/kernel/cpu/scalar.h)

// The builds of one kernel.
struct Kernels {
  KernelFn cpu[3] = {};          // f32, bf16, f16 and integers, compiled for x86-64, -v3 and -v4
  KernelFn reference = nullptr;  // the plain formula in f64; also what dtype f64 runs
  // The same template with the counting scalar, for the cost test; kernels that only move data count nothing.
  KernelFn counted = nullptr;
};

// Of a function that chooses by type and level itself, or has nothing to choose.
constexpr Kernels one_kernel(KernelFn run) { return {{run, run, run}, run, run}; }
constexpr Kernels one_kernel(KernelFn run, KernelFn counted) { return {{run, run, run}, run, counted}; }

template <KernelFn Check, KernelFn Kernel>
void checked_kernel(KernelArgs& a) {
  Check(a);
  Kernel(a);
}
// Each build of K after Check, which reads values and may raise an error: kernels cannot.
template <KernelFn Check, const Kernels& K>
constexpr Kernels checked_kernels() {
  return {{checked_kernel<Check, K.cpu[0]>, checked_kernel<Check, K.cpu[1]>, checked_kernel<Check, K.cpu[2]>},
          checked_kernel<Check, K.reference>,
          checked_kernel<Check, K.counted>};
}

}  // namespace reckon::ops

// The last lines of <op>_kernel.h name the op's kernels: RECKON_KERNEL(softmax) stands for the template
// softmax_kernel<C>(KernelArgs&) above it. In the op's .cpp it makes the constant `softmax_kernels` for the
// OpDef. ops/CMakeLists.txt compiles the header again for each instruction set, where it makes the entry point
// softmax_cpu; a folder with a *_cpu.cpp of its own writes its entry points there instead.
#ifdef RECKON_KERNEL_ENTRIES
#define RECKON_KERNEL(name)                                   \
  namespace reckon::ops::RECKON_ISA {                         \
  void name##_cpu(KernelArgs& a) { name##_kernel<float>(a); } \
  }
#else
#define RECKON_KERNEL(name)                                                                      \
  namespace reckon::ops {                                                                        \
  namespace isa_v1 {                                                                             \
  void name##_cpu(KernelArgs&);                                                                  \
  }                                                                                              \
  namespace isa_v3 {                                                                             \
  void name##_cpu(KernelArgs&);                                                                  \
  }                                                                                              \
  namespace isa_v4 {                                                                             \
  void name##_cpu(KernelArgs&);                                                                  \
  }                                                                                              \
  namespace {                                                                                    \
  constexpr Kernels name##_kernels{{isa_v1::name##_cpu, isa_v3::name##_cpu, isa_v4::name##_cpu}, \
                                   RECKON_ISA::name##_kernel<double>,                            \
                                   RECKON_ISA::name##_kernel<Counted>};                          \
  }                                                                                              \
  }
#endif
