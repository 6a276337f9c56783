// The whole update in one pass over memory: p, g, m and v are read once, p, m and v written once. A launch
// takes as many tensors as its parameters hold; their elements are cut into chunks, a block each, which finds
// its tensor by binary search over the tensors' first blocks.
#include "ops/adamw/adamw_attrs.h"
#include "ops/adamw/update.cuh"
#include "ops/kernel/gpu/bits.cuh"
#include "ops/kernel/gpu/launch.cuh"

namespace reckon::ops::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kChunk = 16 * kThreads;

struct TensorOfList {
  void *p, *g, *m, *v;
  int64_t n;
  unsigned first_block : 31, fours : 1;  // fours: all four are aligned for groups of four
  DType p_type, g_type, m_type, v_type;
};
static_assert(sizeof(TensorOfList) == 48);

struct Update {
  Elements grad_scale, skip;  // or none
  bool decays_grad, decays_param;
  float grad_decay, param_factor, weight1, weight2, eps;
  float2 factors;  // root and step

  __device__ __forceinline__ void operator()(float& p, float g, float& m, float& v, float scale,
                                             float2 of_update) const {
    if (grad_scale) g = __fmul_rn(g, scale);
    if (decays_grad) g = scaled_sum(g, p, grad_decay);
    if (decays_param) p = __fmul_rn(p, param_factor);
    m = lerp_to(m, g, weight1);
    v = lerp_to_square(v, g, weight2);
    p = quotient_sum(p, m, root_term(v, of_update.x, eps), of_update.y);
  }
};

struct TensorLists {
  Update update;
  const float2* counted =
      nullptr;  // the factors of the first tensor and those after it, where they are counted
  int n = 0;
  TensorOfList tensor[kAdamWTensorsPerLaunch];
};
static_assert(sizeof(TensorLists) < 30000);  // parameters end at 32764 bytes

struct Counts {
  AdamWCorrection correction;
  Elements skip;
  float2* factors;
  int n = 0;
  float* updates[kAdamWCountsPerLaunch];
};
static_assert(sizeof(Counts) < 30000);

__global__ void __launch_bounds__(kThreads) count_updates(const __grid_constant__ Counts c) {
  const int k = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (k >= c.n) return;
  const float made = *c.updates[k] + 1;
  const AdamWFactors f = c.correction.at(made);
  c.factors[k] = make_float2(static_cast<float>(f.root), static_cast<float>(f.minus_step));
  if (!is_set(c.skip)) *c.updates[k] = made;
}

__global__ void __launch_bounds__(kThreads) update_chunks(const __grid_constant__ TensorLists t) {
  if (is_set(t.update.skip)) return;
  int which = 0;  // the last tensor that starts at this block or before
  for (int high = t.n - 1; which < high;) {
    const int middle = (which + high + 1) / 2;
    if (t.tensor[middle].first_block <= blockIdx.x)
      which = middle;
    else
      high = middle - 1;
  }
  const TensorOfList& of = t.tensor[which];
  const Elements p{of.p, of.p_type}, g{of.g, of.g_type}, m{of.m, of.m_type}, v{of.v, of.v_type};
  const int64_t start = int64_t{blockIdx.x - of.first_block} * kChunk;
  const int count = of.n - start < kChunk ? static_cast<int>(of.n - start) : static_cast<int>(kChunk);
  const float2 factors = t.counted ? t.counted[which] : t.update.factors;
  const float scale = t.update.grad_scale ? load(t.update.grad_scale, 0) : 1.0f;
  const int in_fours = of.fours ? count / 4 * 4 : 0;
  for (int i = threadIdx.x * 4; i < in_fours; i += kThreads * 4) {
    const int64_t at = start + i;
    const uint4 p_bits = load_bits4(p, at), g_bits = load_bits4(g, at), m_bits = load_bits4(m, at),
                v_bits = load_bits4(v, at);
    float pv[4], gv[4], mv[4], vv[4];
    to_floats(p.dtype, p_bits, pv);
    to_floats(g.dtype, g_bits, gv);
    to_floats(m.dtype, m_bits, mv);
    to_floats(v.dtype, v_bits, vv);
#pragma unroll
    for (int k = 0; k < 4; ++k) t.update(pv[k], gv[k], mv[k], vv[k], scale, factors);
    store4(p, at, pv);
    store4(m, at, mv);
    store4(v, at, vv);
  }
  for (int i = in_fours + threadIdx.x; i < count; i += kThreads) {
    const int64_t at = start + i;
    float pv = load(p, at), mv = load(m, at), vv = load(v, at);
    t.update(pv, load(g, at), mv, vv, scale, factors);
    store(p, at, pv);
    store(m, at, mv);
    store(v, at, vv);
  }
}

}  // namespace

void adamw_all_gpu(KernelArgs& a) {
  const auto& s = a.as<AdamWAttrs>();
  const AdamWInputs in(static_cast<size_t>(a.n_in), s.counts_updates);
  const int n = static_cast<int>(in.n_tensors);
  const TensorArg *p = a.in + in.param(0), *g = a.in + in.grad(0), *m = a.in + in.exp_avg(0),
                  *v = a.in + in.exp_avg_sq(0);
  const auto f32 = [](double x) { return static_cast<float>(x); };
  TensorLists t;
  t.update = {elements(a.in[in.grad_scale()]),
              elements(a.in[in.skip()]),
              s.decays_grad,
              s.decays_param,
              f32(s.grad_decay),
              f32(s.param_factor),
              f32(s.weight1),
              f32(s.weight2),
              f32(s.eps),
              {f32(s.factors.root), f32(s.factors.minus_step)}};
  float2* counted = s.counts_updates ? reinterpret_cast<float2*>(a.workspace[0]) : nullptr;
  int next = 0;
  for (int first = 0; counted && first < n; first += kAdamWCountsPerLaunch) {
    Counts c{s.correction, elements(a.in[in.skip()]), counted + first};
    for (; c.n < kAdamWCountsPerLaunch && first + c.n < n; ++c.n)
      c.updates[c.n] = a.in[in.updates(static_cast<size_t>(first + c.n))].as<float>();
    launch(a, next++, count_updates, blocks_for(c.n, kThreads), kThreads, 0, c);
  }
  for (int first = 0; first < n; first += kAdamWTensorsPerLaunch) {
    int64_t blocks = 0;
    for (t.n = 0; t.n < kAdamWTensorsPerLaunch && first + t.n < n; ++t.n) {
      const int k = first + t.n;
      const int64_t count = p[k].numel();
      const bool fours = aligned_for_fours(p[k]) && aligned_for_fours(g[k]) && aligned_for_fours(m[k]) &&
                         aligned_for_fours(v[k]);
      t.tensor[t.n] = {p[k].data, g[k].data,  m[k].data,  v[k].data,  count,     static_cast<unsigned>(blocks),
                       fours,     p[k].dtype, g[k].dtype, m[k].dtype, v[k].dtype};
      blocks += (count + kChunk - 1) / kChunk;
    }
    t.counted = counted ? counted + first : nullptr;
    launch(a, next++, update_chunks, blocks_for(blocks, 1), kThreads, 0, t);
  }
}

}  // namespace reckon::ops::gpu
