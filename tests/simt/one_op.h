// One op on the emulated GPU, on the CPU and on meta: inputs of given shapes, types and views, what came out of
// each and which events were made. Whole calls of several ops are in both_devices.h.
#pragma once

#include <gtest/gtest.h>

#include <functional>

#include "ops/op.h"
#include "runtime/core/element.h"
#include "simt/backend.h"
#include "tests/support/event_log.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {

struct Input {
  Shape shape;
  DType dtype = DType::f32;
  std::function<Tensor(const Tensor&)> view = [](const Tensor& t) { return t; };
};

// Uniform in [-0.5, 0.5), the same on every device; `seed` tells inputs apart.
inline Tensor make(Device& device, const Input& in, uint64_t seed) {
  const size_t n = static_cast<size_t>(numel(in.shape));
  std::vector<std::byte> bytes(n * size_of(in.dtype));
  uint64_t state = seed;
  for (size_t i = 0; i < n; ++i) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    const float v = static_cast<float>(static_cast<double>(state >> 33) / 2147483648.0 - 0.5);
    store_element(bytes.data(), in.dtype, static_cast<int64_t>(i), v);
  }
  return in.view(
      Tensor::from_host(device, in.shape, in.dtype, bytes.data(), bytes.size(), Category::input, "x"));
}

// The same at an address that is no multiple of any vector.
inline Tensor make_misaligned(Device& device, const Input& in, uint64_t seed) {
  const int64_t n = numel(in.shape);
  return make(device, {{n + 1}, in.dtype}, seed).sliced(0, 1, n + 1).reshaped(in.shape);
}

struct Work {
  int64_t kernels = 0, library_calls = 0;
};

using MakeInputs = std::function<TensorList(Device&)>;

// Runs an op on the emulated GPU, whose library workspace is `library_bytes` (0: the usual), and checks it
// against the CPU and against the events of its dry run. `scale` multiplies the tolerance of each output's type
// (a backward op's: of the narrowest type it reads or writes, since weights' gradients are f32 sums of rounded
// terms); `needs_grad`: as dispatch.
inline Work expect_agreement(const ops::OpDef& op, const MakeInputs& inputs,
                             const ops::AttrsPtr& attrs = nullptr, size_t library_bytes = 0, double scale = 1.0,
                             uint32_t needs_grad = 0) {
  DeviceSpec spec = simt::spec();
  if (library_bytes > 0) spec.library_workspace_bytes = library_bytes;
  Device gpu(DeviceKind::cuda, spec, DeviceOptions{}, simt::make_backend()), meta(DeviceKind::meta, spec);
  const auto cpu = make_device(DeviceKind::cpu);
  EventLog executed, predicted;
  gpu.add_sink(&executed);
  meta.add_sink(&predicted);
  Work w;
  {
    const TensorList on_gpu = inputs(gpu), on_meta = inputs(meta), on_cpu = inputs(*cpu);
    const TensorList got = ops::dispatch(op, on_gpu, attrs, needs_grad),
                     planned = ops::dispatch(op, on_meta, attrs, needs_grad),
                     want = ops::dispatch(op, on_cpu, attrs, needs_grad);
    EXPECT_EQ(first_difference(predicted.events, executed.events), "");
    EXPECT_EQ(got.size(), want.size());
    double of_inputs = 0;
    if (std::string_view(op.name).ends_with("_backward"))
      for (const Tensor& t : on_cpu)
        if (t.defined() && is_compute_type(t.dtype())) of_inputs = std::max(of_inputs, tolerance(t.dtype()));
    for (size_t i = 0; i < want.size(); ++i) {
      EXPECT_EQ(got[i].dtype(), want[i].dtype());
      EXPECT_EQ(got[i].shape(), want[i].shape());
      if (want[i].numel() > 0) {
        EXPECT_LE(relative_error(to_doubles(got[i]), to_doubles(want[i])),
                  std::max(of_inputs, tolerance(got[i].dtype())) * scale)
            << "output " << i;
      }
    }
    for (const Event& e : executed.events) {
      if (e.kind != EventKind::launched) continue;
      w.kernels += e.launch == LaunchKind::kernel;
      w.library_calls += e.launch == LaunchKind::library;
    }
  }
  gpu.remove_sink(&executed);
  meta.remove_sink(&predicted);
  return w;
}

}  // namespace reckon::testing
