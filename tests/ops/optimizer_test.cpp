// Optimizer updates, gradient norm and loss scaling against published values (PyTorch 1.13.1 on the CPU in
// f64), and the fused forms against the eager ones.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "ops/adamw/adamw.h"
#include "ops/binary/binary.h"
#include "ops/fill/fill.h"
#include "ops/grad_norm/grad_norm.h"
#include "ops/grad_scaler/grad_scaler.h"
#include "ops/sgd/sgd.h"
#include "runtime/cpu/isa.h"
#include "tests/support/event_log.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

using V = std::vector<double>;

Tensor tensor(Device& device, const V& v, DType dtype, Shape shape = {}) {
  if (shape.rank() == 0) shape = {static_cast<int64_t>(v.size())};
  if (dtype == DType::f64)
    return Tensor::from_host(device, shape, dtype, v.data(), v.size() * 8, Category::input);
  std::vector<float> f(v.begin(), v.end());
  return Tensor::from_host(device, shape, DType::f32, f.data(), f.size() * 4, Category::input);
}

Tensor random(Device& device, const Shape& shape, uint64_t stream, DType dtype = DType::f32) {
  Tensor t = Tensor::empty(device, shape, dtype);
  ops::fill_random(t, ops::Distribution::normal, 0.0, 1.0, 5, stream);
  return t;
}

std::vector<std::byte> bits(const Tensor& t) {
  std::vector<std::byte> out(t.bytes());
  t.copy_to_host(out.data(), out.size());
  return out;
}

struct Trajectory {
  const char* name;
  ops::AdamWSettings settings;
  V param;
  std::array<V, 5> grads;
  V final_param, final_avg, final_sq;
};

const std::vector<Trajectory>& trajectories() {
  static const std::vector<Trajectory> list{
      {"adamw",
       {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01},
       {1.013358235359192, 0.7672908902168274, 1.9521394968032837},
       {V{0.24478861689567566, 0.20736534893512726, -0.22162127494812012},
        V{-0.0037287843879312277, -0.0025844566989690065, 0.004012905061244965},
        V{-0.41054368019104004, 6.158580303192139, -12.085082054138184},
        V{-7.408515375573188e-05, 2.674260758794844e-05, -0.0002679417666513473},
        V{-1.0153487920761108, -0.5386022329330444, -0.6818788051605225}},
       {1.0073007158859337, 0.7343345638894346, 1.984295756942877},
       {-0.11900683219427823, 0.45840402175022055, -1.061351672730625},
       {0.001258838367264004, 0.03818522072592655, 0.14627115053979503}},
      {"adamw, other betas",
       {.lr = 0.003, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-6, .weight_decay = 0.1},
       {1.6533229351043701, -1.3113757371902466, -2.900813102722168},
       {V{0.5122978091239929, 0.7253455519676208, -0.2994961142539978},
        V{0.0026918319053947926, -0.019354116171598434, -0.0012751849135383964},
        V{0.8011205196380615, 10.439068794250488, -4.749617576599121},
        V{-0.00016341620357707143, 0.00015012777294032276, -0.00012004224117845297},
        V{-0.4523905813694, -0.3820677101612091, 1.0126686096191406}},
       {1.64052344473852, -1.319315083900909, -2.886815776722518},
       {0.05344509029794948, 0.8535503194134192, -0.3032058675807225},
       {0.049882451356928745, 4.946200346120557, 1.0728968109288781}},
      {"adam with decay in the gradient",
       {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.05, .decoupled = false},
       {-1.5074418783187866, 0.8150096535682678, -1.8353625535964966},
       {V{-1.2070698738098145, -2.1246626377105713, 0.21141688525676727},
        V{0.012905929237604141, 0.01018533669412136, -0.006425541825592518},
        V{1.6650561094284058, -0.8857120871543884, -3.594160318374634},
        V{-7.44400022085756e-05, 0.00012327443982940167, -0.00011188149073859677},
        V{-1.152980923652649, 0.37436577677726746, -1.1708099842071533}},
       {-1.4909532460852075, 0.8479947605567723, -1.8280121150123072},
       {-0.08930839612238416, -0.15590812440353, -0.43248587468500593},
       {0.005679314212018546, 0.005214428784273154, 0.0151891279467963}}};
  return list;
}

TEST(AdamW, BothFormsFollowThePublishedTrajectoriesForFiveSteps) {
  auto device = make_device(DeviceKind::cpu);
  for (const Trajectory& t : trajectories())
    for (DType dtype : {DType::f64, DType::f32})
      for (bool fused : {false, true}) {
        Tensor p = tensor(*device, t.param, dtype), m = tensor(*device, {0, 0, 0}, dtype),
               v = tensor(*device, {0, 0, 0}, dtype);
        ops::AdamWSettings s = t.settings;
        for (s.step = 1; s.step <= 5; ++s.step) {
          const Tensor g = tensor(*device, t.grads[static_cast<size_t>(s.step - 1)], dtype);
          if (fused)
            ops::adamw_all({&p, 1}, {&g, 1}, {&m, 1}, {&v, 1}, s);
          else
            ops::adamw_eager(p, g, m, v, s);
        }
        const double limit = dtype == DType::f64 ? 1e-13 : 1e-6;
        EXPECT_LE(relative_error(to_doubles(p), t.final_param), limit) << t.name << name_of(dtype) << fused;
        EXPECT_LE(relative_error(to_doubles(m), t.final_avg), limit) << t.name << name_of(dtype) << fused;
        EXPECT_LE(relative_error(to_doubles(v), t.final_sq), limit) << t.name << name_of(dtype) << fused;
      }
}

struct Model {
  TensorList p, g, m, v;
  explicit Model(Device& d) {
    const std::vector<Shape> shapes{{37, 301}, {7}, {3, 5, 2}, {9001}};
    for (size_t i = 0; i < shapes.size(); ++i) {
      p.push_back(random(d, shapes[i], 10 + i));
      g.push_back(random(d, shapes[i], 20 + i));
      m.push_back(ops::full(d, shapes[i], DType::f32, 0.0));
      v.push_back(ops::full(d, shapes[i], DType::f32, 0.0));
    }
  }
};

TEST(AdamW, FusedAndEagerGiveTheSameBitsAtEveryInstructionSet) {
  for (int level = 0; level <= static_cast<int>(machine_isa_level()); ++level)
    for (bool decoupled : {true, false}) {
      auto device = make_device(DeviceKind::cpu, 2, level);
      Model a(*device), b(*device);
      const Tensor factor = tensor(*device, {0.3}, DType::f32);
      for (int64_t step = 1; step <= 3; ++step) {
        const ops::AdamWSettings s{.lr = 0.01, .step = step, .decoupled = decoupled};
        ops::adamw_all(a.p, a.g, a.m, a.v, s, factor);
        for (size_t i = 0; i < b.p.size(); ++i) ops::adamw_eager(b.p[i], b.g[i], b.m[i], b.v[i], s, factor);
      }
      for (size_t i = 0; i < a.p.size(); ++i) {
        EXPECT_EQ(bits(a.p[i]), bits(b.p[i])) << "isa " << level << " tensor " << i;
        EXPECT_EQ(bits(a.m[i]), bits(b.m[i])) << "isa " << level << " tensor " << i;
        EXPECT_EQ(bits(a.v[i]), bits(b.v[i])) << "isa " << level << " tensor " << i;
      }
    }
}

TEST(AdamW, ANonZeroSkipLeavesEverythingAndAZeroSkipNothing) {
  auto device = make_device(DeviceKind::cpu);
  for (bool fused : {false, true})
    for (double flag : {0.0, 1.0}) {
      Model a(*device);
      // What a skipped step must not spread.
      ops::fill(a.g[0], std::numeric_limits<double>::infinity());
      const auto before_p = bits(a.p[0]), before_m = bits(a.m[0]), before_v = bits(a.v[0]);
      const Tensor skip = tensor(*device, {flag}, DType::f32), scale = tensor(*device, {0.5}, DType::f32);
      if (fused)
        ops::adamw_all(a.p, a.g, a.m, a.v, {}, scale, skip);
      else
        ops::adamw_eager(a.p[0], a.g[0], a.m[0], a.v[0], {}, scale, skip);
      EXPECT_EQ(bits(a.p[0]) == before_p, flag != 0);
      EXPECT_EQ(bits(a.m[0]) == before_m, flag != 0);
      EXPECT_EQ(bits(a.v[0]) == before_v, flag != 0);
    }
}

// Updates counted on the device: as if the host had given their numbers, and in both forms the same bits.
TEST(AdamW, CountsUpdatesThatAreNotSkipped) {
  for (const DType t : {DType::f32, DType::f64})
    for (const bool decoupled : {true, false}) {
      auto device = make_device(DeviceKind::cpu);
      const auto state = [&](uint64_t stream) {
        TensorList s;
        for (const Shape& shape : {Shape{3, 1411}, Shape{7}}) s.push_back(random(*device, shape, stream++, t));
        return s;
      };
      const TensorList grads = state(10);
      TensorList by_host = state(20), fused = state(20), eager = state(20), moments[6];
      for (TensorList& m : moments)
        for (const Tensor& g : grads) m.push_back(ops::full(*device, g.shape(), t, 0.0));
      TensorList counts[2];
      for (TensorList& c : counts)
        for (double n : {0.0, 4.0}) c.push_back(ops::full(*device, {1}, t, n));
      ops::AdamWSettings s{.lr = 0.1, .decoupled = decoupled};
      int64_t made[2] = {0, 4};
      for (const double skipped : {1.0, 0.0, 1.0, 0.0, 0.0}) {
        const Tensor skip = ops::full(*device, {1}, DType::f32, skipped);
        s.step = 1000;  // not read where updates are counted
        ops::adamw_all(fused, grads, moments[2], moments[3], s, {}, skip, counts[0]);
        for (size_t i = 0; i < grads.size(); ++i) {
          ops::adamw_eager(eager[i], grads[i], moments[4][i], moments[5][i], s, {}, skip, counts[1][i]);
          if (skipped != 0) continue;
          ops::AdamWSettings known = s;
          known.step = ++made[i];
          ops::adamw_all({&by_host[i], 1}, {&grads[i], 1}, {&moments[0][i], 1}, {&moments[1][i], 1}, known);
        }
      }
      for (size_t i = 0; i < grads.size(); ++i) {
        EXPECT_EQ(bits(fused[i]), bits(eager[i]));
        EXPECT_LE(relative_error(to_doubles(fused[i]), to_doubles(by_host[i])), tolerance(t));
        EXPECT_EQ(to_doubles(counts[0][i]), V{static_cast<double>(made[i])});
        EXPECT_EQ(to_doubles(counts[1][i]), V{static_cast<double>(made[i])});
      }
    }
}

TEST(AdamW, FusedLaunchesOnceForManyTensorsAndAllocatesNothing) {
  auto device = make_device(DeviceKind::cpu);
  Model a(*device);
  EventLog log;
  device->add_sink(&log);
  ops::adamw_all(a.p, a.g, a.m, a.v, {});
  device->remove_sink(&log);
  int launches = 0, allocations = 0;
  for (const Event& e : log.events) {
    launches += e.kind == EventKind::launched;
    allocations += e.kind == EventKind::allocated;
  }
  EXPECT_EQ(launches, 1);
  EXPECT_EQ(allocations, 0);
}

TEST(AdamW, UnequalListsAndShapesAreNamed) {
  auto device = make_device(DeviceKind::cpu);
  Model a(*device);
  a.v.pop_back();
  EXPECT_THROW(ops::adamw_all(a.p, a.g, a.m, a.v, {}), Error);
  EXPECT_THROW(ops::adamw_eager(a.p[0], a.g[1], a.m[0], a.v[0], {}), Error);
  EXPECT_THROW(ops::adamw_eager(a.p[0], a.g[0], a.m[0], a.v[0], {.step = 0}), Error);
}

TEST(Sgd, FollowsThePublishedMomentumTrajectoryForFiveSteps) {
  auto device = make_device(DeviceKind::cpu);
  const std::array<V, 5> grads{V{-0.4416714906692505, 1.0961635112762451, 0.8507061004638672},
                               V{-0.00725833373144269, 0.00817075278609991, 0.013561245985329151},
                               V{-5.070691108703613, -8.043214797973633, -8.538418769836426},
                               V{1.621684350538999e-05, -7.103742973413318e-05, 0.00013552639575209469},
                               V{1.6640678644180298, 1.1013697385787964, 0.9960483312606812}};
  for (DType dtype : {DType::f64, DType::f32}) {
    Tensor p = tensor(*device, {0.6621689200401306, -0.9818545579910278, 1.931560754776001}, dtype);
    Tensor buffer = tensor(*device, {7, 7, 7}, dtype);  // the first step overwrites it
    for (int64_t step = 1; step <= 5; ++step)
      ops::sgd(p, tensor(*device, grads[static_cast<size_t>(step - 1)], dtype), buffer,
               {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01, .step = step});
    const double limit = dtype == DType::f64 ? 1e-13 : 1e-6;
    EXPECT_LE(relative_error(to_doubles(p), {2.0419075937448232, 0.6477409525086176, 3.7657045701181615}),
              limit);
    EXPECT_LE(relative_error(to_doubles(buffer), {-2.693423680494754, -4.715032777141645, -5.256237072169396}),
              limit);
  }
}

TEST(GradNorm, ClipsAsThePublishedValuesSay) {
  auto device = make_device(DeviceKind::cpu);
  TensorList grads{
      tensor(*device, {0.9768092036247253,  -0.6671863198280334, 0.03005324676632881,  1.5782335996627808,
                       0.68863844871521,    0.5879552364349365,  -0.814449667930603,   2.5875964164733887,
                       0.229939267039299,   -0.6069749593734741, 0.5022405982017517,   1.547510027885437,
                       -1.3051319122314453, -0.5355654954910278, -0.31345880031585693, 0.24972021579742432,
                       0.6600883603096008,  0.9906602501869202,  -0.26822084188461304, 0.02015409804880619},
             DType::f64, {4, 5}),
      tensor(*device, {-0.866303026676178, 0.7358996272087097, -0.3512321710586548}, DType::f64)};
  const double norm = 4.4937648080493116;
  for (const Tensor& n : {ops::grad_norm(grads), ops::grad_norm_eager(grads)})
    EXPECT_NEAR(to_doubles(n)[0], norm, 1e-13);
  const Tensor n = ops::grad_norm(grads);
  EXPECT_EQ(to_doubles(ops::clip_coefficient(n, 50))[0], 1.0);
  const Tensor c = ops::clip_coefficient(n, 1.0);
  EXPECT_NEAR(to_doubles(c)[0], 1 / (norm + 1e-6), 1e-14);
  ops::scale_all_(grads, c);
  EXPECT_NEAR(to_doubles(grads[1])[0], -0.866303026676178 / (norm + 1e-6), 1e-14);
  EXPECT_NEAR(to_doubles(ops::grad_norm(grads))[0], norm / (norm + 1e-6), 1e-13);
}

TEST(GradNorm, BothFormsGiveTheSameBitsForMoreThan32Tensors) {
  auto device = make_device(DeviceKind::cpu);
  TensorList grads;
  for (uint64_t i = 0; i < 40; ++i) grads.push_back(random(*device, {static_cast<int64_t>(1 + 311 * i)}, i));
  EXPECT_EQ(bits(ops::grad_norm(grads)), bits(ops::grad_norm_eager(grads)));
}

TEST(GradNorm, BothFormsGiveTheSameBitsForMixedTypes) {
  for (const auto& types : {std::vector<DType>{DType::f32, DType::f64},
                            {DType::bf16, DType::f64, DType::f32},
                            {DType::f16, DType::bf16, DType::f32},
                            {DType::f64, DType::f16}})
    for (int threads : {1, 2}) {
      auto device = make_device(DeviceKind::cpu, threads);
      TensorList grads;
      for (DType t : types) {
        grads.push_back(random(*device, {9001}, grads.size(), t));
        grads.push_back(ops::full(*device, {10}, t, 0.1));
      }
      const Tensor joint = ops::grad_norm(grads), eager = ops::grad_norm_eager(grads);
      EXPECT_EQ(joint.dtype(), eager.dtype());
      EXPECT_EQ(bits(joint), bits(eager));
    }
}

TEST(GradNorm, ANaNGradientGivesANaNCoefficient) {
  auto device = make_device(DeviceKind::cpu);
  const TensorList grads{tensor(*device, {1, NAN, 2}, DType::f32)};
  EXPECT_TRUE(std::isnan(to_doubles(ops::clip_coefficient(ops::grad_norm(grads), 1.0))[0]));
}

TEST(GradScaler, FindsOneInfinityOrNaNAnywhere) {
  auto device = make_device(DeviceKind::cpu);
  for (DType dtype : {DType::f32, DType::bf16, DType::f16, DType::f64}) {
    TensorList grads{random(*device, {9001}, 1, dtype), random(*device, {5}, 2, dtype)};
    EXPECT_EQ(to_doubles(ops::non_finite(grads))[0], 0.0) << name_of(dtype);
    for (double bad : {double{INFINITY}, -double{INFINITY}, double{NAN}}) {
      TensorList broken{grads[0], ops::full(*device, {5}, dtype, 1.0)};
      ops::fill(broken[1].sliced(0, 4, 5), bad);
      EXPECT_EQ(to_doubles(ops::non_finite(broken))[0], 1.0) << name_of(dtype) << bad;
    }
  }
}

void expect_scales(float start, int64_t interval, const V& found, const std::vector<float>& scales,
                   const std::vector<int64_t>& trackers) {
  auto device = make_device(DeviceKind::cpu);
  Tensor scale = tensor(*device, {start}, DType::f32);
  Tensor tracker = ops::full(*device, {1}, DType::i64, 0);
  for (size_t i = 0; i < found.size(); ++i) {
    ops::scaler_update(scale, tracker, tensor(*device, {found[i]}, DType::f32), 2.0, 0.5, interval);
    EXPECT_EQ(*scale.data<float>(), scales[i]) << "iteration " << i;
    EXPECT_EQ(*tracker.data<int64_t>(), trackers[i]) << "iteration " << i;
  }
}

TEST(GradScaler, ScaleGrowsAfterTheIntervalAndBacksOffAtOnce) {
  expect_scales(65536, 3, {0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0},
                {65536, 65536, 131072, 131072, 65536, 65536, 65536, 131072, 131072, 131072, 65536, 32768, 32768,
                 32768, 65536, 65536, 65536, 131072},
                {1, 2, 0, 1, 0, 1, 2, 0, 1, 2, 0, 0, 1, 2, 0, 1, 2, 0});
}

TEST(GradScaler, ScaleNeverGrowsToInfinity) {
  expect_scales(0x1p126f, 1, {0, 0, 0, 1, 0, 0}, {0x1p127f, 0x1p127f, 0x1p127f, 0x1p126f, 0x1p127f, 0x1p127f},
                {0, 0, 0, 0, 0, 0});
}

}  // namespace
}  // namespace reckon::testing
