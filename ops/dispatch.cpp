// The door for ops: the only path from a call to work on a device.
#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>

#include "ops/layouts.h"
#include "ops/op.h"
#include "runtime/events/scope.h"

namespace reckon::ops {
namespace {

struct Recorder {
  Device& device;
  const OpDef& op;
  const Plan& plan;
  size_t made = 0;

  static void note(void* recorder, int index);
};

std::atomic<CallHook> hook = nullptr;

TensorArg to_arg(const Tensor& t) {
  if (!t.defined()) return {};
  TensorArg arg{t.address(), t.dtype(), t.rank()};
  for (int i = 0; i < t.rank(); ++i) {
    arg.shape[i] = t.shape()[i];
    arg.strides[i] = t.strides()[i];
  }
  return arg;
}

std::string describe_inputs(std::span<const Tensor> inputs) {
  std::string text;
  for (const Tensor& t : inputs) text += (text.empty() ? "" : ", ") + describe(t);
  return text;
}

Device& device_of(const OpDef& op, std::span<const Tensor> inputs) {
  Device* device = nullptr;
  for (const Tensor& t : inputs) {
    if (!t.defined()) continue;
    RECKON_CHECK(!device || device == &t.device(), "op '{}' got tensors of two devices", op.name);
    device = &t.device();
  }
  RECKON_CHECK(device, "op '{}' got no defined input", op.name);
  return *device;
}

// Whoever needs the old values of what the op overwrites saves them now; this may run other ops.
void announce_writes(const Plan& plan, std::span<const Tensor> inputs) {
  for (const OutputSpec& spec : plan.outputs)
    if (spec.writes) inputs[static_cast<size_t>(spec.alias_of)].storage()->announce_write();
}

// Once nothing but the kernel can fail: what was saved of these storages is stale from here on.
void bump_versions(const Plan& plan, std::span<const Tensor> inputs) {
  for (const OutputSpec& spec : plan.outputs)
    if (spec.writes) inputs[static_cast<size_t>(spec.alias_of)].storage()->bump_version();
}

TensorList make_outputs(const Plan& plan, std::span<const Tensor> inputs, Device& device) {
  TensorList outputs;
  outputs.reserve(plan.outputs.size());
  for (const OutputSpec& spec : plan.outputs) {
    if (spec.alias_of < 0) {
      outputs.push_back(Tensor::empty(device, spec.shape, spec.dtype, spec.category, spec.label));
      continue;
    }
    const Tensor& source = inputs[static_cast<size_t>(spec.alias_of)];
    outputs.push_back(spec.writes ? source.detached() : source.with_layout(spec.layout));
  }
  return outputs;
}

template <class T, class ToFloat>
bool all_finite(const T* p, int64_t n, ToFloat to_float) {
  for (int64_t i = 0; i < n; ++i)
    if (!std::isfinite(to_float(p[i]))) return false;
  return true;
}

void check_outputs_finite(const OpDef& op, const TensorList& outputs, std::span<const Tensor> inputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Tensor& t = outputs[i];
    if (!is_compute_type(t.dtype()) || !t.contiguous()) continue;
    const int64_t n = t.numel();
    const std::vector<std::byte> host = t.to_host();
    bool good = true;
    switch (t.dtype()) {
      case DType::f32:
        good = all_finite(reinterpret_cast<const float*>(host.data()), n, [](float v) { return v; });
        break;
      case DType::f64:
        good = all_finite(reinterpret_cast<const double*>(host.data()), n, [](double v) { return v; });
        break;
      case DType::bf16:
        good = all_finite(reinterpret_cast<const bf16*>(host.data()), n, [](bf16 v) { return to_f32(v); });
        break;
      default:
        good = all_finite(reinterpret_cast<const f16*>(host.data()), n, [](f16 v) { return to_f32(v); });
    }
    RECKON_CHECK(
        good,
        "op '{}' in module '{}' (phase {}, step {}) made NaN or infinity in output {} {}; its inputs were {}",
        op.name, name_of(context().module), name_of(context().phase), context().step, i, describe(t),
        describe_inputs(inputs));
  }
}

// Names the call: op, attributes, and the values, layouts and types of what it reads. 0: not comparable.
uint64_t signature_of(const OpDef& op, const Plan& plan, std::span<const Tensor> inputs, const Attrs* attrs) {
  uint64_t h = 1;
  if (attrs && op.fingerprint) {
    h = op.fingerprint(*attrs);
  } else if (attrs) {
    // A view's attributes show in the layout of what it returns.
    for (const OutputSpec& o : plan.outputs) {
      if (o.alias_of < 0 || o.writes) return 0;
      h = mix_hash(mix_hash(h, static_cast<uint64_t>(o.layout.offset)),
                   static_cast<uint64_t>(o.layout.shape.rank()));
      for (int i = 0; i < o.layout.shape.rank(); ++i)
        h = mix_hash(mix_hash(h, static_cast<uint64_t>(o.layout.shape[i])),
                     static_cast<uint64_t>(o.layout.strides[i]));
    }
  }
  for (const char* c = op.name; *c; ++c) h = mix_hash(h, static_cast<unsigned char>(*c));
  for (const Tensor& t : inputs) {
    if (!t.defined()) {
      h = mix_hash(h, 0);
      continue;
    }
    h = mix_hash(mix_hash(h, t.storage()->value_name()), static_cast<uint64_t>(t.dtype()));
    h = mix_hash(h, static_cast<uint64_t>(t.layout().offset));
    for (int i = 0; i < t.rank(); ++i)
      h = mix_hash(mix_hash(h, static_cast<uint64_t>(t.shape()[i])), static_cast<uint64_t>(t.strides()[i]));
  }
  return h == 0 ? 1 : h;
}

void run_kernel(const OpDef& op, std::span<const Tensor> inputs, const TensorList& outputs,
                std::span<std::byte* const> workspaces, const Attrs* attrs, Recorder& recorder) {
  InlineVector<TensorArg, 4> in_args;
  InlineVector<TensorArg, 2> out_args;
  bool f64 = false;
  for (const Tensor& t : inputs) {
    in_args.push_back(to_arg(t));
    f64 |= t.defined() && t.dtype() == DType::f64;
  }
  for (const Tensor& t : outputs) {
    out_args.push_back(to_arg(t));
    f64 |= t.dtype() == DType::f64;
  }
  const DeviceSpec& spec = recorder.device.spec();
  Backend* backend = recorder.device.backend();
  KernelArgs args{.in = in_args.data(),
                  .n_in = static_cast<int>(in_args.size()),
                  .out = out_args.data(),
                  .n_out = static_cast<int>(out_args.size()),
                  .workspace = workspaces.data(),
                  .attrs = attrs,
                  .threads = spec.threads,
                  .isa_level = spec.isa_level,
                  .stream = backend ? backend->stream() : nullptr,
                  .context = backend ? backend->context() : nullptr,
                  .library_workspace_bytes = spec.library_workspace_bytes,
                  .recorder = &recorder,
                  .note_launch = Recorder::note};
  if (backend) {
    const DeviceKernel kernel = backend->kernel(op.name);
    RECKON_CHECK(kernel, "op '{}' has no kernel on {} for ({})", op.name, backend->name(),
                 describe_inputs(inputs));
    backend->begin_op(recorder.device.next_call(), op.name, name_of(context().module),
                      name_of(context().phase));
    try {
      kernel(args);
    } catch (const std::exception& e) {
      backend->end_op();
      throw Error(fmt::format("{}\n  in op '{}' of module '{}' (phase {}) on {} with inputs ({})", e.what(),
                              op.name, name_of(context().module), name_of(context().phase), backend->name(),
                              describe_inputs(inputs)));
    }
    backend->end_op();
    return;
  }
  const KernelFn kernel = f64 ? op.kernels.reference : op.kernels.cpu[std::min(spec.isa_level, 2)];
  RECKON_CHECK(kernel, "op '{}' has no {} kernel for ({})", op.name, f64 ? "f64" : "cpu",
               describe_inputs(inputs));
  kernel(args);
}

void Recorder::note(void* recorder, int index) {
  auto& r = *static_cast<Recorder*>(recorder);
  RECKON_CHECK(r.made == static_cast<size_t>(index) && r.made < r.plan.launches.size(),
               "op '{}' made launch {} as number {}, but its plan has {} launches", r.op.name, index, r.made,
               r.plan.launches.size());
  const LaunchSpec& planned = r.plan.launches[r.made++];
  r.device.note_launch(planned.kind, intern(planned.name));
}

// A GPU computes in f32, bf16 and f16: f64 is for references.
void check_gpu_takes(const OpDef& op, std::span<const Tensor> inputs) {
  for (const Tensor& t : inputs)
    RECKON_CHECK(!t.defined() || t.dtype() != DType::f64,
                 "op '{}' on a GPU got {}: expected f32, bf16 or f16 (f64 runs on the cpu)", op.name,
                 describe(t));
}

// Statistics that backward keeps do not count: without elements of the result nobody reads them.
bool makes_no_element(const Plan& plan) {
  bool statistics_only = true;
  for (const OutputSpec& o : plan.outputs) {
    if (o.differentiable && numel(o.shape) > 0) return false;
    statistics_only &= !o.differentiable;
  }
  return !statistics_only;
}

}  // namespace

Plan plan_of(const OpDef& op, std::span<const Tensor> inputs, const AttrsPtr& attrs, const DeviceSpec& spec,
             uint32_t needs_grad) {
  const PlanContext c{inputs, attrs.get(), spec, needs_grad};
  check_layouts(op, inputs);
  Plan plan = op.plan(c);
  RECKON_CHECK(!plan.outputs.empty(), "op '{}' is asked for nothing", op.name);
  check_no_overlap(op, plan, inputs);
  if (makes_no_element(plan)) {
    plan.launches = {};
    plan.workspaces = {};
    plan.cost = {};
  }
  if (spec.kind == DeviceKind::cuda) {
    check_gpu_takes(op, inputs);
    if (op.gpu_plan && !makes_no_element(plan)) op.gpu_plan(c, plan);
  }
  return plan;
}

TensorList dispatch(const OpDef& op, std::span<const Tensor> inputs, const AttrsPtr& attrs, uint32_t needs_grad,
                    Plan* used) {
  Device& device = device_of(op, inputs);
  Scope scope;
  context().op = intern(op.name);
  Plan plan;
  try {
    plan = plan_of(op, inputs, attrs, device.spec(), needs_grad);
  } catch (const OutOfMemory&) {
    throw;
  } catch (const Error& e) {
    throw Error(fmt::format("{}\n  in op '{}' of module '{}' (phase {}) with inputs ({})", e.what(), op.name,
                            name_of(context().module), name_of(context().phase), describe_inputs(inputs)));
  }

  announce_writes(plan, inputs);
  const Context& c = context();
  Event begin{.kind = EventKind::op_begin, .phase = c.phase, .op = c.op, .module = c.module, .step = c.step};
  device.emit(begin);
  const uint64_t signature = signature_of(op, plan, inputs, attrs.get());
  TensorList outputs = make_outputs(plan, inputs, device);
  for (size_t i = 0; i < outputs.size() && signature != 0; ++i)
    if (plan.outputs[i].alias_of < 0) outputs[i].storage()->set_value_name(mix_hash(signature, i));
  {
    std::vector<std::unique_ptr<Storage>> workspaces;
    InlineVector<std::byte*, 4> addresses;
    for (const WorkspaceSpec& w : plan.workspaces) {
      workspaces.push_back(
          std::make_unique<Storage>(device, device.arena(), w.bytes, Category::workspace, intern(w.label)));
      addresses.push_back(workspaces.back()->data());
    }
    bump_versions(plan, inputs);
    Recorder recorder{device, op, plan};
    if (!plan.launches.empty()) {
      if (device.executes()) {
        run_kernel(op, inputs, outputs, {addresses.data(), addresses.size()}, attrs.get(), recorder);
        RECKON_CHECK(recorder.made == plan.launches.size(), "op '{}' made {} launches, its plan has {}",
                     op.name, recorder.made, plan.launches.size());
        if (device.options().check_finite) check_outputs_finite(op, outputs, inputs);
      } else {
        for (const LaunchSpec& l : plan.launches) device.note_launch(l.kind, intern(l.name));
      }
    }
    while (!workspaces.empty()) workspaces.pop_back();
  }
  Event end{.kind = EventKind::op_end,
            .phase = c.phase,
            .op = c.op,
            .module = c.module,
            .step = c.step,
            .cost = plan.cost,
            .signature = signature};
  device.emit(end);
  if (used) *used = std::move(plan);
  return outputs;
}

TensorList call(const OpDef& op, std::span<const Tensor> inputs, const AttrsPtr& attrs) {
  TensorList copies;
  if (!takes_layouts(op, inputs)) inputs = copies = in_taken_layouts(op, inputs, attrs);
  const CallHook h = call_hook();
  return h ? h(op, inputs, attrs) : dispatch(op, inputs, attrs);
}

void set_call_hook(CallHook h) { hook.store(h, std::memory_order_release); }
CallHook call_hook() { return hook.load(std::memory_order_acquire); }

const OpDef& op_by_name(std::string_view name) {
  for (const OpDef* op : all_ops())
    if (name == op->name) return *op;
  raise_error(fmt::format("no op is called '{}'", name));
}

}  // namespace reckon::ops
