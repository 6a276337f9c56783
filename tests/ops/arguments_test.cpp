// Arguments that make no sense are errors that say what was expected and what came; overlapping operands of ops that
// write give what copies would give.
#include <gtest/gtest.h>

#include "ops/adamw/adamw.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/concat/concat.h"
#include "ops/copy_into/copy_into.h"
#include "ops/diagonal/diagonal.h"
#include "ops/dropout/dropout.h"
#include "ops/einsum/einsum.h"
#include "ops/fill/fill.h"
#include "ops/grad_norm/grad_norm.h"
#include "ops/matmul/matmul.h"
#include "ops/mean_var/mean_var.h"
#include "ops/softmax/softmax.h"
#include "ops/sum/sum.h"
#include "ops/view/view.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

using V = std::vector<double>;

Tensor counting(Device& d, const Shape& s, DType t = DType::f32) {
  V v(static_cast<size_t>(numel(s)));
  for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<double>(i);
  return from_doubles(d, s, t, v);
}

template <class F>
void expect_error(F f, std::initializer_list<const char*> parts) {
  try {
    f();
    ADD_FAILURE() << "no error that says " << *parts.begin();
  } catch (const Error& e) {
    for (const char* part : parts) EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

TEST(Arguments, AnAxisNamedTwiceIsAnError) {
  for (DeviceKind kind : {DeviceKind::cpu, DeviceKind::meta}) {
    auto d = make_device(kind);
    const Tensor x = Tensor::empty(*d, {2, 3, 4}, DType::f32);
    expect_error([&] { ops::sum(x, {0, 0}); }, {"axis 0 twice", "[0, 0]"});
    expect_error([&] { ops::sum_wide(x, {1, -2}); }, {"axis 1 twice"});
    expect_error([&] { ops::mean(x, {0, -3}); }, {"axis 0 twice"});
    expect_error([&] { ops::mean_var(x, {1, 1}, false); }, {"axis 1 twice"});
    expect_error([&] { ops::permute(x, {0, 1, 1}); }, {"axis 1 twice"});
    expect_error([&] { ops::permute(x, {0, 2, -1}); }, {"axis 2 twice"});
    expect_error([&] { ops::einsum("ij->ii", {Tensor::empty(*d, {3, 3}, DType::f32)}); }, {"twice"});
    expect_error([&] { ops::diagonal(x, 1, -2); }, {"axes 1 and 1"});
    expect_error([&] { ops::dropout(x, 0.5, {1, 1}, {0, 0}); }, {"axis 0 twice"});
  }
}

TEST(Arguments, AnAxisOutOfRangeIsAnError) {
  auto d = make_device(DeviceKind::meta);
  const Tensor x = Tensor::empty(*d, {2, 3, 4}, DType::f32);
  constexpr int64_t wraps = (int64_t{1} << 32) + 1;  // axis 1 in 32 bits
  expect_error([&] { ops::sum(x, {3}); }, {"axis 3", "rank 3"});
  expect_error([&] { ops::sum(x, {wraps}); }, {"axis 4294967297"});
  expect_error([&] { ops::mean(x, {wraps}); }, {"axis 4294967297"});
  expect_error([&] { ops::permute(x, {0, wraps, 2}); }, {"axis 4294967297"});
  expect_error([&] { ops::softmax(x, -4); }, {"axis -4"});
  expect_error([&] { ops::transpose(x, 0, 3); }, {"axis 3"});
  expect_error([&] { ops::concat({x, x}, 3); }, {"axis 3"});
  expect_error([&] { ops::squeeze(x, 5); }, {"axis 5"});
  expect_error([&] { ops::unsqueeze(x, 5); }, {"axis 5"});
  expect_error([&] { ops::permute(x, {0, 1}); }, {"needs 3 axes", "[0, 1]"});
}

TEST(Arguments, NegativeExtentsAreErrors) {
  for (DeviceKind kind : {DeviceKind::cpu, DeviceKind::meta}) {
    auto d = make_device(kind);
    const Tensor x = Tensor::empty(*d, {4, 5}, DType::f32), one = Tensor::empty(*d, {1}, DType::f32);
    expect_error([&] { ops::reshape(x, {-4, -5}); }, {"[-4, -5]", "negative extent, -4"});
    expect_error([&] { x.reshaped({-4, -5}); }, {"negative extent, -4"});
    expect_error([&] { ops::reshape(x, {-1, -5}); }, {"negative extent, -5"});
    expect_error([&] { ops::expand(one, {-3}); }, {"[-3]", "negative extent, -3"});
    expect_error([&] { ops::expand(one, {-1}); }, {"negative extent, -1"});
    expect_error([&] { Tensor::empty(*d, {-3, -4}, DType::f32); }, {"negative extent, -3"});
    expect_error([&] { ops::full(*d, {2, -1}, DType::f32, 0.0); }, {"negative extent, -1"});
    expect_error([&] { ops::pad_with_zeros(x, 1, 0, -5); }, {"does not fit"});
    expect_error([&] { ops::pad_with_zeros(x, 1, -1, 7); }, {"does not fit"});
    EXPECT_EQ(ops::reshape(x, {-1, 10}).shape(), (Shape{2, 10})) << "one -1 is inferred";
    expect_error([&] { ops::reshape(x, {-1, -1}); }, {"two extents open"});
    expect_error([&] { ops::reshape(x, {-1, 3}); }, {"[4, 5]", "[-1, 3]"});
    expect_error([&] { ops::reshape(Tensor::empty(*d, {0, 3}, DType::f32), {-1, 0}); }, {"[0, 3]", "[-1, 0]"});
  }
}

TEST(Arguments, SlicesAndExpansionsThatDoNotFitAreErrors) {
  auto d = make_device(DeviceKind::meta);
  const Tensor x = Tensor::empty(*d, {4, 5}, DType::f32);
  expect_error([&] { ops::slice(x, 1, 2, 6); }, {"[2, 6)", "<= 5"});
  expect_error([&] { ops::slice(x, 0, 3, 2); }, {"[3, 2)"});
  expect_error([&] { ops::slice(x, 0, -1, 2); }, {"[-1, 2)"});
  expect_error([&] { ops::expand(x, {5}); }, {"rank would fall from 2 to 1"});
  expect_error([&] { ops::expand(x, {4, 6}); }, {"axis 1 has 5, expected 6 or 1"});
  expect_error([&] { ops::split(x, 1, 2); }, {"2 equal pieces"});
}

TEST(Overlap, CopyIntoAndAccumulateGiveWhatCopiesGive) {
  for (DType t : {DType::f32, DType::bf16, DType::f64})
    for (int64_t n : {int64_t{40}, int64_t{1000}, int64_t{60000}})
      for (int64_t shift : {1, 3, -1, -3}) {
        auto d = make_device(DeviceKind::cpu);
        for (const bool adds : {false, true}) {
          const Tensor buffer = Tensor::empty(*d, {n + 3}, t);
          ops::copy_into(buffer, from_doubles(*d, {n + 3}, t, [n] {
                           V v(static_cast<size_t>(n + 3));
                           for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<double>(i % 97);
                           return v;
                         }()));
          const int64_t to = shift > 0 ? shift : 0, from = shift > 0 ? 0 : -shift;
          Tensor target = buffer.sliced(0, to, to + n);
          const Tensor source = buffer.sliced(0, from, from + n);
          const V before = to_doubles(target), added = to_doubles(source);
          adds ? ops::accumulate(target, source) : ops::copy_into(target, source);
          const V got = to_doubles(target);
          for (size_t i = 0; i < got.size(); ++i)
            ASSERT_EQ(got[i], adds ? before[i] + added[i] : added[i]) << n << " " << shift << " at " << i;
        }
      }
}

TEST(Overlap, ATransposeOfItselfIsReadBeforeItIsWritten) {
  for (int64_t n : {int64_t{3}, int64_t{130}}) {
    auto d = make_device(DeviceKind::cpu);
    const Tensor m = counting(*d, {n, n});
    Tensor q = ops::copy(m);
    ops::copy_into(m, m.transposed(0, 1));
    ops::accumulate(q, q.transposed(0, 1));
    EXPECT_EQ(to_doubles(m.transposed(0, 1)), to_doubles(counting(*d, {n, n})));
    EXPECT_EQ(to_doubles(q), to_doubles(q.transposed(0, 1)));
    EXPECT_EQ(to_doubles(q)[1], 1.0 + static_cast<double>(n));
  }
}

TEST(Overlap, EqualLayoutsAndSeparateMemoryNeedNoCopy) {
  auto d = make_device(DeviceKind::cpu);
  Tensor t = counting(*d, {6, 4}), top = t.sliced(0, 0, 3);
  const int64_t before = d->n_launches();
  ops::accumulate(top, t.sliced(0, 3, 6));
  ops::accumulate(top, top);
  EXPECT_EQ(d->n_launches(), before + 2);
  EXPECT_EQ(to_doubles(top)[0], 2.0 * 12.0);
}

TEST(Overlap, OtherOpsThatWriteRefuseIt) {
  auto d = make_device(DeviceKind::cpu);
  const Tensor t = counting(*d, {12});
  Tensor p = t.sliced(0, 0, 4), m = counting(*d, {4}), v = counting(*d, {4}), overlapping = t.sliced(0, 2, 6);
  expect_error(
      [&] {
        ops::adamw_all({&p, 1}, {&m, 1}, {&overlapping, 1}, {&v, 1}, {});
      },
      {"inputs 0 and 2 share"});
  TensorList list{p};
  expect_error([&] { ops::scale_all_(list, t.sliced(0, 1, 2)); }, {"inputs 0 and 1 share"});
  TensorList twice{p, p};
  expect_error([&] { ops::scale_all_(twice, ops::full(*d, {1}, DType::f32, 2.0)); }, {"inputs 0 and 1 share"});
}

TEST(Matmul, StepsThroughAnyNumberOfBatchAxes) {
  auto d = make_device(DeviceKind::cpu);
  const Tensor a = counting(*d, {2, 3, 2, 3, 2, 3, 2, 2}), b = counting(*d, {3, 2, 3, 2, 3, 1, 2, 2});
  const Tensor swapped = a.permuted({5, 4, 3, 2, 1, 0, 7, 6}), spread = b.expanded({3, 2, 3, 2, 3, 2, 2, 2});
  EXPECT_EQ(to_doubles(ops::matmul(swapped, b)),
            to_doubles(ops::matmul(ops::copy(swapped), ops::copy(spread))));
}

}  // namespace
}  // namespace reckon::testing
