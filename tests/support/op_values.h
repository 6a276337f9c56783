// Short ways to write down tensors and run ops on them, for tests with known answers.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "autograd/engine.h"
#include "autograd/node.h"
#include "ops/cast/cast.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {

// A device to build small tensors on.
struct Values {
  std::unique_ptr<Device> device;
  explicit Values(DeviceKind kind = DeviceKind::cpu, int threads = 2) : device(make_device(kind, threads)) {}

  Tensor f64(const Shape& shape, const std::vector<double>& v) const {
    return Tensor::from_host(*device, shape, DType::f64, v.data(), v.size() * sizeof(double), Category::input,
                             "values");
  }
  Tensor f32(const Shape& shape, const std::vector<float>& v) const {
    return Tensor::from_host(*device, shape, DType::f32, v.data(), v.size() * sizeof(float), Category::input,
                             "values");
  }
  Tensor i64(const Shape& shape, const std::vector<int64_t>& v) const {
    return Tensor::from_host(*device, shape, DType::i64, v.data(), v.size() * sizeof(int64_t), Category::input,
                             "values");
  }
  Tensor u8(const Shape& shape, const std::vector<uint8_t>& v) const {
    return Tensor::from_host(*device, shape, DType::u8, v.data(), v.size(), Category::input, "values");
  }
  // Reproducible normal numbers that every float type holds exactly.
  Tensor random(const Shape& shape, DType dtype, uint64_t seed) const {
    return make_inputs(*device, {.name = "random", .inputs = {{.shape = shape}}}, dtype, seed)[0];
  }
  Tensor leaf(const Tensor& t) const {
    Tensor own = ops::copy(t);
    own.storage()->set_category(Category::parameter);
    autograd::set_requires_grad(own);
    return own;
  }
};

inline void expect_near(const Tensor& got, const std::vector<double>& expected, double tolerance) {
  const std::vector<double> v = to_doubles(got);
  ASSERT_EQ(v.size(), expected.size());
  for (size_t i = 0; i < v.size(); ++i) {
    if (v[i] == expected[i]) continue;  // infinities have no difference
    EXPECT_NEAR(v[i], expected[i], tolerance) << "element " << i;
  }
}

// Bytes that ops so far keep for backward beside parameters and inputs.
inline int64_t saved_bytes(const Values& v) {
  return static_cast<int64_t>(v.device->arena().live_bytes(Category::saved));
}

}  // namespace reckon::testing
