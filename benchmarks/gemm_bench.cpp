// Compares reckon's matrix products with oneDNN's on the same operands, plain row-major layouts on both sides
// (oneDNN's own packed layout is not used for b: both pack within the timed call). The two are timed in turn
// and the best round of each counts, since other processes share the machine.
// Usage: gemm_bench [rounds] [threads...]
#include <fmt/format.h>
#include <omp.h>
#include <time.h>
#include <dnnl.hpp>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "ops/kernel/cpu/gemm.h"

namespace {

using reckon::DType;
using namespace reckon::ops;

struct Case {
  const char* name;
  int64_t batch, m, n, k;
  bool b_transposed;  // b stored n x k, as the weight of a linear layer is
};

constexpr Case kCases[] = {
    {"256^3", 1, 256, 256, 256, false},
    {"512^3", 1, 512, 512, 512, false},
    {"1024^3", 1, 1024, 1024, 1024, false},
    {"2048^3", 1, 2048, 2048, 2048, false},
    {"512x4864x896", 1, 512, 4864, 896, false},
    {"512x4864x896 b^T", 1, 512, 4864, 896, true},
    {"512x896x4864 b^T", 1, 512, 896, 4864, true},
    {"16384x128x128", 1, 16384, 128, 128, false},
    {"16384x128x128 b^T", 1, 16384, 128, 128, true},
    {"512 of 64x64x32", 512, 64, 64, 32, false},
    {"512 of 64x64x32 b^T", 512, 64, 64, 32, true},
    {"512 of 128x128x32", 512, 128, 128, 32, false},
    {"512 of 128x128x32 b^T", 512, 128, 128, 32, true},
};

struct Buffer {
  explicit Buffer(size_t bytes) : data(std::aligned_alloc(64, (bytes + 63) / 64 * 64)), size(bytes) {}
  ~Buffer() { std::free(data); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  void* data;
  size_t size;
};

void fill(Buffer& buffer, DType type) {
  std::mt19937 random(7);
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  const size_t n = buffer.size / reckon::size_of(type);
  for (size_t i = 0; i < n; ++i) {
    const float v = uniform(random);
    if (type == DType::f32)
      static_cast<float*>(buffer.data)[i] = v;
    else
      static_cast<uint16_t*>(buffer.data)[i] = reckon::f32_to_bf16(v);
  }
}

// One thread is charged its CPU time, so that being preempted does not count; several need the wall clock.
double seconds(int threads, const std::function<void()>& call) {
  const auto now = [&] {
    timespec t;
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  };
  const double start = now();
  call();
  return now() - start;
}

std::function<void()> onednn_product(const Case& c, DType type, Buffer& a, Buffer& b, Buffer& out) {
  using namespace dnnl;
  static const engine cpu(engine::kind::cpu, 0);
  const auto element = type == DType::f32 ? memory::data_type::f32 : memory::data_type::bf16;
  const auto md = [&](int64_t rows, int64_t cols, bool transposed) {
    memory::dims dims{c.batch, rows, cols};
    memory::dims strides{rows * cols, transposed ? 1 : cols, transposed ? rows : 1};
    if (c.batch == 1) return memory::desc({rows, cols}, element, {strides[1], strides[2]});
    return memory::desc(dims, element, strides);
  };
  const memory::desc a_md = md(c.m, c.k, false), b_md = md(c.k, c.n, c.b_transposed),
                     c_md = md(c.m, c.n, false);
  const matmul::primitive_desc description(matmul::desc(a_md, b_md, c_md), cpu);
  struct State {
    matmul primitive;
    stream queue;
    memory a, b, c;
  };
  const auto state = std::make_shared<State>(State{matmul(description), stream(cpu), memory(a_md, cpu, a.data),
                                                   memory(b_md, cpu, b.data), memory(c_md, cpu, out.data)});
  return [state] {
    state->primitive.execute(
        state->queue, {{DNNL_ARG_SRC, state->a}, {DNNL_ARG_WEIGHTS, state->b}, {DNNL_ARG_DST, state->c}});
    state->queue.wait();
  };
}

void run_case(const Case& c, DType type, int threads, int rounds) {
  const size_t element = reckon::size_of(type);
  Buffer a(static_cast<size_t>(c.batch * c.m * c.k) * element),
      b(static_cast<size_t>(c.batch * c.k * c.n) * element);
  Buffer ours(static_cast<size_t>(c.batch * c.m * c.n) * element), theirs(ours.size);
  fill(a, type);
  fill(b, type);

  const IsaLevel level = cpu_isa_level();
  const size_t bytes = batched_gemm_workspace_bytes(c.m, c.n, c.k, c.batch, type, type, type, threads, level);
  Buffer workspace(bytes);
  GemmProblem p;
  p.m = c.m, p.n = c.n, p.k = c.k;
  p.a = {a.data, type, c.k, 1};
  p.b = {b.data, type, c.b_transposed ? 1 : c.n, c.b_transposed ? c.k : 1};
  p.c = ours.data, p.c_dtype = type, p.c_row_stride = c.n, p.c_col_stride = 1;
  GemmBatch batch;
  batch.rank = 1;
  batch.size[0] = c.batch;
  batch.a_stride[0] = c.m * c.k, batch.b_stride[0] = c.k * c.n, batch.c_stride[0] = c.m * c.n;

  omp_set_num_threads(threads);
  const auto own = [&] { batched_gemm(p, batch, workspace.data, threads, level); };
  const auto onednn = onednn_product(c, type, a, b, theirs);
  own();
  onednn();
  const double flop = 2.0 * static_cast<double>(c.batch * c.m * c.n) * static_cast<double>(c.k);
  // A round lasts some ten milliseconds: the tile units reach their speed only after a while of use.
  const double flop_per_round = (type == DType::f32 ? 1e9 : 4e9) * threads;
  const int calls = std::max(1, static_cast<int>(flop_per_round / flop));
  double best_own = 1e30, best_onednn = 1e30;
  for (int round = 0; round < rounds; ++round) {
    best_own = std::min(best_own, seconds(threads, [&] {
                          for (int i = 0; i < calls; ++i) own();
                        }));
    best_onednn = std::min(best_onednn, seconds(threads, [&] {
                             for (int i = 0; i < calls; ++i) onednn();
                           }));
  }
  const double gflops = flop * calls * 1e-9;
  fmt::print("| {} | {} | {} | {:.0f} | {:.0f} | {:.2f} | {} |\n", c.name, reckon::name_of(type), threads,
             gflops / best_own, gflops / best_onednn, best_onednn / best_own, bytes / 1024);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 15;
  std::vector<int> threads;
  std::string filter;
  for (int i = 2; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.find_first_not_of("0123456789") == argument.npos)
      threads.push_back(std::atoi(argv[i]));
    else
      filter = argument;
  }
  if (threads.empty()) threads = {1, 2};
  fmt::print("level {}, best of {} rounds\n\n", name_of(cpu_isa_level()), rounds);
  fmt::print("| m x n x k | type | threads | reckon GFLOP/s | oneDNN GFLOP/s | ratio | workspace KiB |\n");
  fmt::print("|---|---|---|---|---|---|---|\n");
  for (const DType type : {DType::f32, DType::bf16})
    for (const int t : threads)
      for (const Case& c : kCases)
        if (fmt::format("{} {}", name_of(type), c.name).find(filter) != std::string::npos)
          run_case(c, type, t, rounds);
}
