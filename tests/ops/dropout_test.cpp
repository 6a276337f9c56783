#include "ops/dropout/dropout.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/engine.h"
#include "autograd/node.h"
#include "ops/binary/binary.h"
#include "ops/fill/fill.h"
#include "runtime/cpu/isa.h"
#include "tests/support/event_log.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

constexpr ops::DropoutKey kKey{0x0123456789abcdefull, 0xfedcba9876543210ull};

Tensor random(Device& device, const Shape& shape, uint64_t stream, DType dtype = DType::f32) {
  Tensor t = Tensor::empty(device, shape, dtype);
  ops::fill_random(t, ops::Distribution::normal, 0.0, 1.0, 5, stream);
  return t;
}

TEST(Dropout, MaskIsThePhiloxOfTheRuntimeAtEveryInstructionSet) {
  for (int level = 0; level <= static_cast<int>(machine_isa_level()); ++level) {
    auto device = make_device(DeviceKind::cpu, 2, level);
    // Rows of 7 through a transposed view start at positions that are no multiples of four.
    const Tensor x = ops::full(*device, {7, 301}, DType::f32, 1.0).transposed(0, 1);
    const auto y = to_doubles(ops::dropout(x, 0.3, kKey));
    for (size_t i = 0; i < y.size(); ++i)
      ASSERT_EQ(y[i],
                ops::dropout_keeps(kKey, 0.3, static_cast<int64_t>(i)) ? static_cast<float>(1 / 0.7) : 0.0f)
          << "isa " << level << " element " << i;
  }
}

TEST(Dropout, DropsTheGivenShareAndKeepsTheMean) {
  auto device = make_device(DeviceKind::cpu);
  const int n = 100000;
  const auto y = to_doubles(ops::dropout(ops::full(*device, {n}, DType::f32, 1.0), 0.1, {1, 2}));
  double sum = 0, dropped = 0;
  for (double v : y) sum += v, dropped += v == 0;
  EXPECT_NEAR(dropped / n, 0.1, 5 * std::sqrt(0.09 / n));
  EXPECT_NEAR(sum / n, 1.0, 5 * std::sqrt(0.09 / n) / 0.9);
}

TEST(Dropout, SharedAxesShareOneMask) {
  auto device = make_device(DeviceKind::cpu);
  const Tensor ones = ops::full(*device, {4, 5, 6}, DType::f32, 1.0);
  const auto y = to_doubles(ops::dropout(ones, 0.5, kKey, {-3}));
  for (size_t r = 0; r < 4; ++r)
    for (size_t i = 0; i < 30; ++i)
      EXPECT_EQ(y[r * 30 + i] != 0, ops::dropout_keeps(kKey, 0.5, static_cast<int64_t>(i)));
  const auto z = to_doubles(ops::dropout(ones, 0.5, kKey, {1}));
  for (size_t a = 0; a < 4; ++a)
    for (size_t i = 0; i < 30; ++i)
      EXPECT_EQ(z[a * 30 + i] != 0, ops::dropout_keeps(kKey, 0.5, static_cast<int64_t>(a * 6 + i % 6)));
}

TEST(Dropout, FusedAndEagerGiveTheSameBitsForwardAndBackward) {
  for (int level = 0; level <= static_cast<int>(machine_isa_level()); ++level)
    for (const Dims& shared : {Dims{}, Dims{-3}, Dims{1}}) {
      std::vector<double> results[2];
      for (int fused = 0; fused < 2; ++fused) {
        auto device = make_device(DeviceKind::cpu, 2, level);
        Tensor r = random(*device, {5, 9, 33}, 1), x = random(*device, {5, 9, 33}, 2);
        autograd::set_requires_grad(r);
        autograd::set_requires_grad(x);
        const Tensor y = fused ? ops::dropout_add(r, x, 0.25, kKey, shared)
                               : ops::add(r, ops::dropout(x, 0.25, kKey, shared));
        results[fused] = to_doubles(y);
        autograd::backward({y}, {random(*device, {5, 9, 33}, 3)});
        for (const Tensor& t : {autograd::grad_of(r), autograd::grad_of(x)})
          for (double v : to_doubles(t)) results[fused].push_back(v);
      }
      EXPECT_EQ(results[0], results[1]) << "isa " << level << " shared " << to_string(shared);
    }
}

TEST(Dropout, EagerKeepsTheReducedMaskAndFusedKeepsNothing) {
  for (bool fused : {false, true}) {
    auto device = make_device(DeviceKind::meta);
    EventLog log;
    device->add_sink(&log);
    {
      Tensor r = Tensor::empty(*device, {8, 16, 32}, DType::f32),
             x = Tensor::empty(*device, {8, 16, 32}, DType::f32);
      autograd::set_requires_grad(x);
      const Tensor y = fused ? ops::dropout_add(r, x, 0.25, kKey, {0}) : ops::dropout(x, 0.25, kKey, {0});
      int64_t kept = 0;
      for (const Event& e : log.events)
        if (e.kind == EventKind::saved) kept += e.bytes;
      EXPECT_EQ(kept, fused ? 0 : 16 * 32);
    }
    device->remove_sink(&log);
  }
}

TEST(Dropout, ProbabilityZeroIsTheIdentityAndOneIsRefused) {
  auto device = make_device(DeviceKind::cpu);
  const Tensor x = random(*device, {3, 4}, 1), r = random(*device, {3, 4}, 2);
  EXPECT_EQ(ops::dropout(x, 0, kKey).storage(), x.storage());
  EXPECT_EQ(to_doubles(ops::dropout_add(r, x, 0, kKey)), to_doubles(ops::add(r, x)));
  EXPECT_THROW(ops::dropout(x, 1, kKey), Error);
  EXPECT_THROW(ops::dropout(x, 15, kKey), Error);
}

}  // namespace
}  // namespace reckon::testing
