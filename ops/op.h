// The declaration of an op: everything the runtime, autograd, the ledger and the tests know about it. A plan is
// pure in shapes, types, attributes and the device's spec; it decides outputs, workspaces, launches, saves and
// cost before anything runs, and a real run that deviates from it is an error.
#pragma once

#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "ops/kernel/kernel_args.h"
#include "runtime/core/hash.h"
#include "runtime/core/inline_vector.h"
#include "runtime/device.h"
#include "runtime/tensor.h"

namespace reckon::ops {

using AttrsPtr = std::shared_ptr<const Attrs>;

struct OutputSpec {
  Shape shape;
  DType dtype = DType::f32;
  const char* label = "out";
  int alias_of = -1;           // >= 0: a view of that input (no bytes), or that input written in place
  Layout layout{};             // of the view, when alias_of >= 0
  bool writes = false;         // in-place
  bool differentiable = true;  // false: statistics and masks, which only backward reads
  Category category = Category::transient;
};

struct WorkspaceSpec {
  const char* label = "";
  size_t bytes = 0;
};

struct LaunchSpec {
  const char* name = "";
  LaunchKind kind = LaunchKind::kernel;
};

struct SaveRef {
  bool output = false;  // of the op's outputs, else of its inputs
  int index = 0;
};

struct Plan {
  InlineVector<OutputSpec, 2> outputs;
  InlineVector<WorkspaceSpec, 2> workspaces;
  InlineVector<LaunchSpec, 4> launches;
  InlineVector<SaveRef, 8> saves;  // what backward reads, given which inputs need gradients
  Cost cost;
};

struct PlanContext {
  std::span<const Tensor> in;  // shapes, strides and types only; undefined where an optional input is absent
  const Attrs* attrs;
  const DeviceSpec& spec;
  uint32_t needs_grad = 0;  // bit i: input i will need a gradient

  bool needs(int i) const { return (needs_grad >> i) & 1u; }
  template <class A>
  const A& as() const {
    return static_cast<const A&>(*attrs);
  }
};

// What a backward function sees. It computes gradients by calling other ops.
struct BackwardContext {
  std::span<const Tensor> saved;  // in the order of Plan::saves
  std::span<Tensor> grads;        // of the outputs; undefined where nothing flowed in. May be moved from.
  const Attrs* attrs;
  std::span<const Shape> input_shapes;
  std::span<const DType> input_dtypes;
  uint32_t needs_grad = 0;

  bool needs(int i) const { return (needs_grad >> i) & 1u; }
  template <class A>
  const A& as() const {
    return static_cast<const A&>(*attrs);
  }
};

using PlanFn = Plan (*)(const PlanContext&);
using BackwardFn = TensorList (*)(BackwardContext&);  // one per input, undefined where not needed
// Rewrites the launches and workspaces of a plan for a GPU. Outputs, saves and cost are the op's and stay.
using GpuPlanFn = void (*)(const PlanContext&, Plan&);

enum class Gradient : uint8_t {
  differentiable,  // `backward` is given
  none,            // has no derivative by nature: integer results, random fills, optimizer updates
};

// What autocast does with floating-point inputs.
enum class Precision : uint8_t {
  follow,  // nothing; mixed types are handled inside
  low,     // cast to the low type (only those in low_inputs)
  fp32,    // cast up to f32
};

// Whether `--checkpoint selective` rebuilds the outputs instead of keeping them.
enum class Recompute : uint8_t {
  cheap,  // norms, gates, activations, casts, dropout: rebuilt from their inputs
  dear,   // kept: matrix products, and sums whose rebuilding would chain through the whole network
};

enum class InputKind : uint8_t { normal, positive, unit, mask01, index };

struct InputSpec {
  Shape shape;
  InputKind kind = InputKind::normal;
  int64_t index_limit = 0;  // for index: values in [0, limit)
  bool optional_absent = false;
  bool transposed = false;  // last two axes stored swapped: a non-contiguous view
  bool fixed_f32 = false;   // keeps its type when the case runs in bf16 or f16
  bool no_grad = false;     // masks and targets: never differentiated
  int fixed_axes = 0;       // leading axes whose extents the op fixes, for who makes cases larger
};

// One example the generic suites run: forward against float64, gradient check, cost against
// counted operations, meta against cpu.
struct OpCase {
  std::string name;
  std::vector<InputSpec> inputs;
  AttrsPtr attrs;
  double tolerance_scale = 1.0;  // multiplies the table's tolerance, with the reason in `why`
  std::string why;
  bool half_types = true;  // also run in bf16 and f16
};

// Names equal attributes equally, by the fields given; see OpDef::fingerprint.
using FingerprintFn = uint64_t (*)(const Attrs&);

namespace detail {
template <class A, class Field>
A owner_of(Field A::*);
}

template <auto First, auto... Rest>
uint64_t fingerprint_by(const Attrs& attrs) {
  const auto& a = static_cast<const decltype(detail::owner_of(First))&>(attrs);
  uint64_t h = 1;
  const auto add = [&](const auto& field) {
    static_assert(std::has_unique_object_representations_v<std::remove_cvref_t<decltype(field)>> ||
                  std::is_floating_point_v<std::remove_cvref_t<decltype(field)>>);
    for (size_t i = 0; i < sizeof(field); i += sizeof(uint64_t)) {
      uint64_t bits = 0;
      std::memcpy(&bits, reinterpret_cast<const std::byte*>(&field) + i,
                  std::min(sizeof(uint64_t), sizeof(field) - i));
      h = mix_hash(h, bits);
    }
  };
  add(a.*First);
  (add(a.*Rest), ...);
  return h;
}

// The layouts that an op's kernels read right, by input: bit i stands for input i, ~0u for every input of a list.
// An input in neither set must be contiguous. plan_of refuses any other layout; call() copies it first.
struct InputLayouts {
  uint32_t any = 0;   // any strides, 0 among them
  uint32_t rows = 0;  // a unit stride along the last axis, any along the others
};

struct OpDef {
  const char* name;
  // Of the attributes; null where there are none, or where calls are not worth comparing (backward, optimizer):
  // calls with attributes and without this are taken to differ. Views need none.
  FingerprintFn fingerprint = nullptr;
  PlanFn plan;
  Kernels kernels;
  InputLayouts layouts{};
  Gradient gradient = Gradient::none;
  BackwardFn backward = nullptr;
  const char* gradient_note = "";  // why there is none
  Precision precision = Precision::follow;
  uint32_t low_inputs = ~0u;
  Recompute recompute = Recompute::dear;
  std::vector<OpCase> (*cases)() = nullptr;
  // Null: launches and workspaces as on the CPU. The kernels lie in the folder's .cu.
  GpuPlanFn gpu_plan = nullptr;
};

// All registered ops, in the order of ops/CMakeLists.txt. Generated: nothing registers itself.
std::span<const OpDef* const> all_ops();
const OpDef& op_by_name(std::string_view name);  // Error when unknown

// The first of the runtime's three doors, the only places through which work and memory pass, and so the
// places where they are counted: dispatch() for ops, launch() for kernels (KernelArgs::launch,
// Device::note_launch) and Arena::allocate() for bytes. Plans, allocates, runs (or, on meta, records), checks
// launches made against planned, frees workspaces. Never records a gradient. `used` receives the plan it
// followed, for a caller that needs it too.
TensorList dispatch(const OpDef& op, std::span<const Tensor> inputs, const AttrsPtr& attrs = nullptr,
                    uint32_t needs_grad = 0, Plan* used = nullptr);

// What model code and backward functions call: goes through the hook (autograd's), else straight to
// dispatch. An input in a layout that the op does not take is made contiguous first, by an op of its own that
// the books show and that has its gradient; one that the op writes is refused.
TensorList call(const OpDef& op, std::span<const Tensor> inputs, const AttrsPtr& attrs = nullptr);
inline TensorList call(const OpDef& op, std::initializer_list<Tensor> inputs, const AttrsPtr& attrs = nullptr) {
  return call(op, std::span<const Tensor>(inputs.begin(), inputs.size()), attrs);
}

using CallHook = TensorList (*)(const OpDef&, std::span<const Tensor>, const AttrsPtr&);
void set_call_hook(CallHook hook);  // of the process; null removes it
CallHook call_hook();

// The plan dispatch uses, for the kind of device that `spec` describes; for tests and for autograd. Error where
// an input's layout is not one that the op takes. A call that makes no element has no launch, no workspace and
// no cost, whatever the op.
Plan plan_of(const OpDef& op, std::span<const Tensor> inputs, const AttrsPtr& attrs, const DeviceSpec& spec,
             uint32_t needs_grad);

}  // namespace reckon::ops
