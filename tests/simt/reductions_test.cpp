// What the declared cases of norms, sums, softmaxes, losses and gradient lists do not reach: mixed types,
// views that are not aligned or not contiguous, empty tensors, ignored and impossible targets, infinities,
// long lists. Against the CPU's op.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ops/cross_entropy/cross_entropy_attrs.h"
#include "ops/grad_norm/grad_norm.h"
#include "ops/kernel/plan/list_chunks.h"
#include "ops/layer_norm/layer_norm_attrs.h"
#include "ops/mse_loss/mse_loss_attrs.h"
#include "ops/op.h"
#include "ops/rms_norm/rms_norm_attrs.h"
#include "ops/sum/sum_attrs.h"
#include "tests/simt/both_devices.h"

namespace reckon::testing {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

using ops::Reduction;
using Inputs = std::function<TensorList(Device&)>;

Tensor filled(Device& device, const Shape& shape, DType t, const std::function<float(int64_t)>& f) {
  const int64_t n = numel(shape);
  std::vector<std::byte> host(static_cast<size_t>(n) * size_of(t));
  for (int64_t i = 0; i < n; ++i) store_element(host.data(), t, i, f(i));
  return Tensor::from_host(device, shape, t, host.data(), host.size(), Category::input, "values");
}

// A contiguous tensor whose address is one element off.
Tensor shifted(Device& device, const Shape& shape, DType t, uint64_t stream) {
  return normals(device, {numel(shape) + 1}, t, stream).sliced(0, 1, numel(shape) + 1).reshaped(shape);
}

void expect_agreement(const char* op, const ops::AttrsPtr& attrs, const Inputs& inputs) {
  const auto device = emulated_gpu(), cpu = make_device(DeviceKind::cpu);
  const TensorList got = ops::dispatch(ops::op_by_name(op), inputs(*device), attrs, ~0u);
  const TensorList expected = ops::dispatch(ops::op_by_name(op), inputs(*cpu), attrs, ~0u);
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(got[i].dtype(), expected[i].dtype());
    if (got[i].numel() == 0) continue;
    EXPECT_LE(relative_error(to_doubles(got[i]), to_doubles(expected[i])), 2 * tolerance(got[i].dtype()))
        << op << " output " << i;
  }
}

TEST(NormKernels, TakeMixedTypesAndAddressesThatAreNotAligned) {
  const auto backward = std::make_shared<ops::LayerNormBackwardAttrs>(true, true, true);
  for (int64_t c : {36, 128, 700, 2052}) {
    SCOPED_TRACE(c);
    const auto statistics = [](Device& d) {
      return filled(d, {9}, DType::f32, [](int64_t i) { return 0.5f + 0.1f * static_cast<float>(i); });
    };
    expect_agreement("rms_norm", std::make_shared<ops::RmsNormAttrs>(1e-6), [=](Device& d) {
      return TensorList{normals(d, {9, c}, DType::bf16, 1), normals(d, {c}, DType::f32, 2)};
    });
    expect_agreement("rms_norm", std::make_shared<ops::RmsNormAttrs>(1e-6), [=](Device& d) {
      return TensorList{shifted(d, {9, c}, DType::f16, 1), normals(d, {c}, DType::f32, 2)};
    });
    expect_agreement("layer_norm", std::make_shared<ops::LayerNormAttrs>(1e-5), [=](Device& d) {
      return TensorList{normals(d, {9, c}, DType::f32, 1), shifted(d, {c}, DType::bf16, 2),
                        normals(d, {c}, DType::f16, 3)};
    });
    expect_agreement("rms_norm_backward", nullptr, [=](Device& d) {
      return TensorList{shifted(d, {9, c}, DType::f32, 4), normals(d, {9, c}, DType::bf16, 1),
                        normals(d, {c}, DType::f32, 2), statistics(d)};
    });
    expect_agreement("layer_norm_backward", backward, [=](Device& d) {
      return TensorList{normals(d, {9, c}, DType::bf16, 4), normals(d, {9, c}, DType::f32, 1),
                        normals(d, {c}, DType::bf16, 2), statistics(d), statistics(d)};
    });
  }
}

TEST(NormKernels, TakeNoRows) {
  for (int64_t c : {36, 2052}) {
    expect_agreement("rms_norm", std::make_shared<ops::RmsNormAttrs>(1e-6), [=](Device& d) {
      return TensorList{normals(d, {0, c}, DType::f32, 1), normals(d, {c}, DType::f32, 2)};
    });
    const auto device = emulated_gpu();
    const TensorList got = ops::dispatch(
        ops::op_by_name("rms_norm_backward"),
        TensorList{normals(*device, {0, c}, DType::f32, 1), normals(*device, {0, c}, DType::f32, 1),
                   normals(*device, {c}, DType::f32, 2), normals(*device, {0}, DType::f32, 3)},
        nullptr, ~0u);
    for (double v : to_doubles(got[1])) EXPECT_EQ(v, 0);
  }
}

TEST(SumKernels, TakeStridedAndBroadcastViews) {
  const auto axes = [](uint32_t mask) { return std::make_shared<ops::SumAttrs>(mask, false); };
  for (DType t : {DType::f32, DType::bf16, DType::f16}) {
    SCOPED_TRACE(name_of(t));
    for (uint32_t mask = 0; mask < 8; ++mask) {
      SCOPED_TRACE(mask);
      expect_agreement("sum", axes(mask), [=](Device& d) {
        return TensorList{normals(d, {6, 8, 20}, t, 1).permuted({2, 0, 1})};
      });
      expect_agreement("sum", axes(mask), [=](Device& d) {
        return TensorList{normals(d, {6, 9, 20}, t, 1).sliced(1, 1, 8)};
      });
      expect_agreement("sum", axes(mask), [=](Device& d) {
        return TensorList{normals(d, {6, 8, 20}, t, 1).sliced(2, 1, 17)};
      });
      expect_agreement("sum", axes(mask), [=](Device& d) {
        return TensorList{normals(d, {6, 1, 4}, t, 1).expanded({6, 5, 4})};
      });
      expect_agreement("sum", axes(mask), [=](Device& d) { return TensorList{shifted(d, {6, 8, 20}, t, 1)}; });
    }
  }
}

TEST(SumKernels, AddUpManyPieces) {
  // 1, so that the sums are exact in any order.
  const auto ones = [](const Shape& shape) {
    return [=](Device& d) { return TensorList{filled(d, shape, DType::f32, [](int64_t) { return 1.0f; })}; };
  };
  expect_agreement("sum", std::make_shared<ops::SumAttrs>(0b1, false), ones({50001}));
  expect_agreement("sum", std::make_shared<ops::SumAttrs>(0b01, false), ones({4001, 12}));
  expect_agreement("sum", std::make_shared<ops::SumAttrs>(0b010, false), ones({2, 701, 130}));
}

TEST(SoftmaxKernels, TreatRowsOfInfinityAndNanAsTheCpu) {
  for (int64_t c : {20, 128, 600, 4100})
    for (const char* op : {"softmax", "log_softmax", "logsumexp"}) {
      SCOPED_TRACE(std::to_string(c) + op);
      const auto row = [&](float special, bool everywhere) {
        return [=](Device& d) {
          return TensorList{filled(d, {2, c}, DType::f32, [=](int64_t i) {
            return everywhere || i % 7 == 3 ? special : 0.25f * static_cast<float>(i % 13);
          })};
        };
      };
      const auto device = emulated_gpu(), cpu = make_device(DeviceKind::cpu);
      for (const auto& inputs :
           {row(-kInfinity, false), row(-kInfinity, true), row(kInfinity, false), row(NAN, false)}) {
        const std::vector<double> got =
            to_doubles(ops::dispatch(ops::op_by_name(op), inputs(*device), nullptr)[0]);
        const std::vector<double> expected =
            to_doubles(ops::dispatch(ops::op_by_name(op), inputs(*cpu), nullptr)[0]);
        for (size_t i = 0; i < got.size(); ++i) {
          EXPECT_EQ(std::isnan(got[i]), std::isnan(expected[i])) << i;
          if (std::isinf(expected[i])) {
            EXPECT_EQ(got[i], expected[i]) << i;
          } else if (!std::isnan(expected[i])) {
            EXPECT_NEAR(got[i], expected[i], 1e-6 * (1 + std::fabs(expected[i]))) << i;
          }
        }
      }
    }
}

TEST(CrossEntropyKernels, SkipIgnoredRows) {
  for (int64_t c : {23, 200, 4104})
    for (Reduction r : {Reduction::none, Reduction::sum, Reduction::mean}) {
      SCOPED_TRACE(c);
      const auto attrs = std::make_shared<ops::CrossEntropyAttrs>(r, -7);
      const auto targets = [=](Device& d) {
        return filled(d, {9}, DType::i64,
                      [=](int64_t i) { return i % 3 == 1 ? -7.0f : static_cast<float>(i * 5 % c); });
      };
      expect_agreement("cross_entropy", attrs, [=](Device& d) {
        return TensorList{shifted(d, {9, c}, DType::bf16, 1), targets(d)};
      });
      expect_agreement("cross_entropy_backward", attrs, [=](Device& d) {
        return TensorList{normals(d, r == Reduction::none ? Shape{9} : Shape{}, DType::f32, 2),
                          normals(d, {9, c}, DType::bf16, 1), targets(d),
                          filled(d, {2, 9}, DType::f32, [](int64_t) { return 1.5f; })};
      });
    }
}

TEST(CrossEntropyKernels, AnswerATargetThatIsNoClassWithNan) {
  for (int64_t c : {23, 4104}) {
    const auto device = emulated_gpu();
    const Tensor x = normals(*device, {4, c}, DType::f32, 1);
    const Tensor targets = filled(*device, {4}, DType::i64, [=](int64_t i) {
      return i == 2 ? static_cast<float>(c) : (i == 3 ? -1.0f : 0.0f);
    });
    const auto attrs = std::make_shared<ops::CrossEntropyAttrs>(Reduction::none, -100);
    const TensorList made = ops::dispatch(ops::op_by_name("cross_entropy"), TensorList{x, targets}, attrs);
    const std::vector<double> loss = to_doubles(made[0]);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(std::isnan(loss[i]), i >= 2) << i;
    const Tensor g = filled(*device, {4}, DType::f32, [](int64_t) { return 1.0f; });
    const std::vector<double> dx = to_doubles(
        ops::dispatch(ops::op_by_name("cross_entropy_backward"), TensorList{g, x, targets, made[1]}, attrs)[0]);
    for (int64_t i = 0; i < 4 * c; ++i) EXPECT_EQ(std::isnan(dx[i]), i >= 2 * c) << i;
  }
}

TEST(MseKernels, TakeMixedTypesAndAddressesThatAreNotAligned) {
  for (Reduction r : {Reduction::none, Reduction::sum, Reduction::mean}) {
    const auto attrs = std::make_shared<ops::MseAttrs>(r);
    expect_agreement("mse_loss", attrs, [](Device& d) {
      return TensorList{normals(d, {33, 301}, DType::bf16, 1), shifted(d, {33, 301}, DType::f32, 2)};
    });
    expect_agreement("mse_loss_backward", attrs, [=](Device& d) {
      return TensorList{normals(d, r == Reduction::none ? Shape{33, 301} : Shape{}, DType::f32, 3),
                        normals(d, {33, 301}, DType::f16, 1), normals(d, {33, 301}, DType::bf16, 2)};
    });
  }
}

TensorList many_tensors(Device& device, bool with_factor) {
  TensorList list;
  for (int i = 0; i < ops::kTensorsPerLaunch + 30; ++i)
    list.push_back(i % 50 == 7 ? shifted(device, {i % 9}, DType::f32, 3)
                               : normals(device, {i % 9}, i % 3 ? DType::f32 : DType::bf16, 2));
  list.push_back(normals(device, {3, 16001}, DType::f16, 4));
  if (with_factor) list.push_back(filled(device, {1}, DType::f32, [](int64_t) { return 0.75f; }));
  return list;
}

TEST(ListKernels, TakeMoreTensorsThanALaunchHolds) {
  expect_agreement("grad_norm", nullptr, [](Device& d) { return many_tensors(d, false); });
  expect_agreement("scale_all", nullptr, [](Device& d) { return many_tensors(d, true); });
  expect_agreement("non_finite", nullptr, [](Device& d) { return many_tensors(d, false); });
}

TEST(ListKernels, EagerAndJointNormsHaveEqualBits) {
  const auto device = emulated_gpu();
  const TensorList list = many_tensors(*device, false);
  TensorList squares;
  for (const Tensor& t : list)
    squares.push_back(ops::dispatch(ops::op_by_name("sum_squares"), std::span<const Tensor>(&t, 1))[0]);
  std::vector<std::byte> together;
  for (const Tensor& s : squares) {
    const std::vector<std::byte> bytes = s.to_host();
    together.insert(together.end(), bytes.begin(), bytes.end());
  }
  const Tensor all = Tensor::from_host(*device, {static_cast<int64_t>(squares.size())}, DType::f32,
                                       together.data(), together.size(), Category::input, "");
  EXPECT_EQ(ops::dispatch(ops::op_by_name("root_of_sum"), std::span<const Tensor>(&all, 1))[0].to_host(),
            ops::dispatch(ops::op_by_name("grad_norm"), list)[0].to_host());
}

TEST(ListKernels, FindOneInfinityOrNanWhereverItLies) {
  for (float special : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN(), 1.0f})
    for (int64_t place : {0, 5, 16384, 40001}) {
      const auto device = emulated_gpu();
      const TensorList list{
          normals(*device, {11}, DType::f32, 1),
          filled(*device, {40002}, DType::bf16, [=](int64_t i) { return i == place ? special : 0.5f; })};
      EXPECT_EQ(to_doubles(ops::dispatch(ops::op_by_name("non_finite"), list)[0])[0],
                std::isfinite(special) ? 0 : 1)
          << place;
    }
}

}  // namespace
}  // namespace reckon::testing
