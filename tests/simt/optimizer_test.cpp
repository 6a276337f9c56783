// AdamW over lists longer than a launch takes, and the two forms of the update.
#include "ops/adamw/adamw.h"

#include "ops/fill/fill.h"
#include "ops/sgd/sgd.h"
#include "tests/simt/both_devices.h"

namespace reckon::testing {
namespace {

struct State {
  TensorList p, g, m, v;
};

State state(Device& d, const std::vector<int64_t>& sizes, DType low) {
  State s;
  uint64_t stream = 0;
  for (int64_t n : sizes) {
    s.p.push_back(normals(d, {n}, low, stream++));
    s.g.push_back(normals(d, {n}, low, stream++));
    s.m.push_back(normals(d, {n}, DType::f32, stream++));
    Tensor v = Tensor::empty(d, {n}, DType::f32);
    ops::fill_random(v, ops::Distribution::uniform, 0.5, 0.4, 3, stream++);
    s.v.push_back(v);
  }
  return s;
}

TensorList joined(const State& s) {
  TensorList all = s.p;
  all.insert(all.end(), s.m.begin(), s.m.end());
  all.insert(all.end(), s.v.begin(), s.v.end());
  return all;
}

TEST(AdamW, ListsLongerThanALaunch) {
  std::vector<int64_t> sizes(2 * ops::kAdamWTensorsPerLaunch + 1, 3);
  sizes[0] = 0, sizes[5] = 9001, sizes[599] = 0, sizes[600] = 4096, sizes.back() = 4097;
  for (DType t : {DType::f32, DType::bf16})
    expect_agreement([&](Device& d) -> TensorList {
      State s = state(d, sizes, t);
      ops::adamw_all(s.p, s.g, s.m, s.v, {.lr = 0.1, .step = 3});
      return joined(s);
    });
}

TEST(AdamW, MisalignedTensorsGoOneByOne) {
  expect_agreement([](Device& d) -> TensorList {
    const State whole = state(d, {5000, 40}, DType::bf16);
    State s = whole;
    for (TensorList* list : {&s.p, &s.g, &s.m, &s.v}) (*list)[0] = (*list)[0].sliced(0, 1, 4990);
    ops::adamw_all(s.p, s.g, s.m, s.v, {.lr = 0.1, .step = 3});
    return joined(whole);
  });
}

TEST(AdamW, EagerAndFusedGiveTheSameBits) {
  for (bool decoupled : {true, false})
    for (bool scaled : {false, true}) {
      const auto gpu = emulated_gpu();
      const Tensor scale = scaled ? ops::full(*gpu, {1}, DType::f32, 0.37) : Tensor{};
      const ops::AdamWSettings settings{.lr = 0.1, .weight_decay = 0.03, .step = 3, .decoupled = decoupled};
      State a = state(*gpu, {1003, 8}, DType::f32), b = state(*gpu, {1003, 8}, DType::f32);
      ops::adamw_all(a.p, a.g, a.m, a.v, settings, scale);
      for (size_t i = 0; i < b.p.size(); ++i) ops::adamw_eager(b.p[i], b.g[i], b.m[i], b.v[i], settings, scale);
      const TensorList fused = joined(a), eager = joined(b);
      for (size_t i = 0; i < fused.size(); ++i) EXPECT_EQ(fused[i].to_host(), eager[i].to_host()) << i;
    }
}

TEST(Optimizers, ASetFlagLeavesEverythingAsItIs) {
  const auto gpu = emulated_gpu();
  for (double flag : {1.0, static_cast<double>(NAN)}) {
    const Tensor skip = ops::full(*gpu, {1}, DType::f32, flag);
    State s = state(*gpu, {1003, 8}, DType::f32), untouched = state(*gpu, {1003, 8}, DType::f32);
    ops::adamw_all(s.p, s.g, s.m, s.v, {}, {}, skip);
    ops::adamw_eager(s.p[0], s.g[0], s.m[0], s.v[0], {}, {}, skip);
    ops::sgd(s.p[0], s.g[0], s.m[0], {.momentum = 0.9, .step = 2}, {}, skip);
    const TensorList now = joined(s), before = joined(untouched);
    for (size_t i = 0; i < now.size(); ++i) EXPECT_EQ(now[i].to_host(), before[i].to_host()) << i;
  }
}

}  // namespace
}  // namespace reckon::testing
