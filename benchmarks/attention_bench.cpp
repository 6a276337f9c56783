// Times fused attention against the eager chain (scale, product, mask, bias, softmax, product) on the same
// operands, forward alone and forward with backward. The two run in turn and the best round of each counts,
// since other processes share the machine.
// Usage: attention_bench [rounds] [threads]
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <vector>

#include "autograd/engine.h"
#include "autograd/grad_mode.h"
#include "autograd/node.h"
#include "ops/attention/attention.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/matmul/matmul.h"
#include "ops/softmax/softmax.h"
#include "ops/view/view.h"
#include "runtime/device.h"

namespace {

using namespace reckon;

struct Case {
  const char* name;
  int64_t N, H, Hkv, L, D;
  bool causal, bias;
  DType type;
};

constexpr Case kCases[] = {
    {"evoformer row attention, pair bias", 128, 4, 4, 128, 32, false, true, DType::f32},
    {"evoformer row attention, pair bias, bf16", 128, 4, 4, 128, 32, false, true, DType::bf16},
    {"evoformer column attention", 128, 4, 4, 128, 32, false, false, DType::f32},
    {"qwen, causal", 1, 14, 2, 512, 64, true, false, DType::f32},
    {"qwen, causal, bf16", 1, 14, 2, 512, 64, true, false, DType::bf16},
};

Tensor random_tensor(Device& device, const Shape& shape, DType type) {
  std::vector<float> host(static_cast<size_t>(numel(shape)));
  uint32_t state = 12345;
  for (float& v : host) v = static_cast<float>((state = state * 1664525u + 1013904223u) >> 8) * 0x1p-23f - 1.0f;
  return ops::cast(Tensor::from_host(device, shape, DType::f32, host.data(), host.size() * 4, Category::input),
                   type);
}

struct Operands {
  Tensor q, k, v, bias, causal_bias, seed;
};

Operands make(Device& device, const Case& c) {
  Operands o;
  o.q = random_tensor(device, {1, c.N, c.L, c.H, c.D}, c.type);
  o.k = random_tensor(device, {1, c.N, c.L, c.Hkv, c.D}, c.type);
  o.v = random_tensor(device, {1, c.N, c.L, c.Hkv, c.D}, c.type);
  o.seed = random_tensor(device, {1, c.N, c.L, c.H, c.D}, c.type);
  for (Tensor* t : {&o.q, &o.k, &o.v}) autograd::set_requires_grad(*t);
  if (c.bias) {
    o.bias = random_tensor(device, {1, 1, c.H, c.L, c.L}, c.type);
    autograd::set_requires_grad(o.bias);
  }
  if (c.causal) {
    std::vector<float> hidden(static_cast<size_t>(c.L * c.L), 0.0f);
    for (int64_t i = 0; i < c.L; ++i)
      for (int64_t j = i + 1; j < c.L; ++j) hidden[static_cast<size_t>(i * c.L + j)] = -1e9f;
    o.causal_bias = ops::cast(
        Tensor::from_host(device, {c.L, c.L}, DType::f32, hidden.data(), hidden.size() * 4, Category::input),
        c.type);
  }
  return o;
}

Tensor fused(const Case& c, const Operands& o) {
  const Dims split{0, 1, 3, 2, 4};
  return ops::attention(ops::permute(o.q, split), ops::permute(o.k, split), ops::permute(o.v, split), {},
                        o.bias, {.scale = 1 / std::sqrt(static_cast<double>(c.D)), .causal = c.causal});
}

Tensor eager(const Case& c, const Operands& o) {
  const int64_t group = c.H / c.Hkv;
  const auto grouped = [&](const Tensor& t) { return ops::unsqueeze(ops::permute(t, {0, 1, 3, 2, 4}), 3); };
  Tensor q = ops::scale(o.q, 1 / std::sqrt(static_cast<double>(c.D)));
  q = ops::permute(ops::reshape(q, {1, c.N, c.L, c.Hkv, group, c.D}), {0, 1, 3, 4, 2, 5});
  Tensor scores = ops::matmul(q, ops::transpose(grouped(o.k), -2, -1));
  if (o.bias.defined()) scores = ops::add(scores, ops::reshape(o.bias, {1, 1, c.Hkv, group, c.L, c.L}));
  if (c.causal) scores = ops::add(scores, o.causal_bias);
  scores = ops::softmax(scores);
  const Tensor out = ops::permute(ops::matmul(scores, grouped(o.v)), {0, 1, 4, 2, 3, 5});
  return ops::reshape(out, {1, c.N, c.L, c.H, c.D});
}

// With one thread the processor's time counts: it hardly depends on what else the machine does.
bool by_processor_time = false;

double seconds(const std::function<void()>& f) {
  const auto now = [] {
    timespec t{};
    clock_gettime(by_processor_time ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  };
  const double start = now();
  f();
  return now() - start;
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 10;
  DeviceSpec spec = DeviceSpec::this_machine();
  if (argc > 2) spec.threads = std::atoi(argv[2]);
  by_processor_time = spec.threads == 1;
  fmt::print("{} threads, best of {} rounds; GFLOP/s of the products the mathematics needs\n", spec.threads,
             rounds);
  for (const Case& c : kCases) {
    Device device(DeviceKind::cpu, spec);
    const Operands o = make(device, c);
    double best[2][2] = {{1e9, 1e9}, {1e9, 1e9}};  // [forward, forward and backward][eager, fused]
    for (int r = 0; r <= rounds; ++r)
      for (int f = 0; f < 2; ++f) {
        const auto forward = [&] { return f ? fused(c, o) : eager(c, o); };
        const double alone = seconds([&] {
          autograd::NoGrad no_grad;
          (void)forward();
        });
        const double both = seconds([&] {
          const TensorList roots{forward()}, seeds{o.seed};
          autograd::backward(roots, seeds);
        });
        if (r == 0) continue;  // memory is warm from here
        best[0][f] = std::min(best[0][f], alone);
        best[1][f] = std::min(best[1][f], both);
      }
    const double pairs =
        static_cast<double>(c.N * c.H) * static_cast<double>(c.causal ? c.L * (c.L + 1) / 2 : c.L * c.L);
    const double flops = 4 * pairs * static_cast<double>(c.D) * 1e-9;
    fmt::print(
        "{:<42} forward {:7.2f} ms eager, {:7.2f} fused ({:.2f}x, {:.0f} GFLOP/s); with backward {:7.2f}, "
        "{:7.2f} ({:.2f}x, {:.0f})\n",
        c.name, best[0][0] * 1e3, best[0][1] * 1e3, best[0][0] / best[0][1], flops / best[0][1],
        best[1][0] * 1e3, best[1][1] * 1e3, best[1][0] / best[1][1], 3.5 * flops / best[1][1]);
  }
}
