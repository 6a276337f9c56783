// The same calls on the emulated GPU and on the CPU: inputs of equal bits, outputs compared bit for bit
// or by the table of tolerances.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "ops/cast/cast.h"
#include "runtime/core/element.h"
#include "runtime/core/rng.h"
#include "simt/backend.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {

inline std::unique_ptr<Device> emulated_gpu() {
  return std::make_unique<Device>(DeviceKind::cuda, simt::spec(), DeviceOptions{}, simt::make_backend());
}

// Standard normals (for u8: 0 and 1), a pure function of the shape and the stream; any device.
inline Tensor normals(Device& device, const Shape& shape, DType t = DType::f32, uint64_t stream = 0) {
  const int64_t n = numel(shape);
  std::vector<std::byte> host(static_cast<size_t>(n) * size_of(t));
  const Philox random{31, stream};
  for (int64_t i = 0; i < n; ++i) {
    const PhiloxBlock b = random(static_cast<uint64_t>(i));
    const float v = normal_pair(uniform_open(b[0]), uniform_open(b[1]))[0];
    store_element(host.data(), t, i, t == DType::i64 ? 1e6f * v : t == DType::u8 ? b[0] & 1 : v);
  }
  return Tensor::from_host(device, shape, t, host.data(), host.size(), Category::input, "normals");
}

inline Tensor integers(Device& device, const Shape& shape, const std::function<int64_t(int64_t)>& f) {
  std::vector<int64_t> host(static_cast<size_t>(numel(shape)));
  for (size_t i = 0; i < host.size(); ++i) host[i] = f(static_cast<int64_t>(i));
  return Tensor::from_host(device, shape, DType::i64, host.data(), host.size() * 8, Category::input,
                           "integers");
}

using Calls = std::function<TensorList(Device&)>;

inline void expect_equal_bits(const Calls& calls, const char* what = "") {
  const auto gpu = emulated_gpu(), cpu = make_device(DeviceKind::cpu);
  const TensorList a = calls(*gpu), b = calls(*cpu);
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].dtype(), b[i].dtype());
    EXPECT_EQ(a[i].to_host(), b[i].to_host()) << what << " output " << i;
  }
}

inline void expect_agreement(const Calls& calls, double tolerance_scale = 1, const char* what = "") {
  const auto gpu = emulated_gpu(), cpu = make_device(DeviceKind::cpu);
  const TensorList a = calls(*gpu), b = calls(*cpu);
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].dtype(), b[i].dtype());
    EXPECT_LE(relative_error(to_doubles(a[i]), to_doubles(b[i])), tolerance(a[i].dtype()) * tolerance_scale)
        << what << " output " << i;
  }
}

}  // namespace reckon::testing
