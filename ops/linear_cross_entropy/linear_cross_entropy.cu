// Products by the library, and kernels that read each tile of logits once: see linear_cross_entropy_steps.h
// for the way through the tiles. A target that is neither a class nor the ignored index makes the loss NaN: a
// GPU cannot raise the CPU's error.
#include "ops/kernel/gpu/elements.cuh"
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/launch.cuh"
#include "ops/kernel/gpu/reduce.cuh"
#include "ops/kernel/plan/device_gemm.h"
#include "ops/kernel/plan/pack.h"
#include "ops/linear_cross_entropy/linear_cross_entropy_steps.h"

namespace reckon::ops::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int kReduceThreads = 1024;

// A tile of logits, in f32.
struct Tile {
  float* logits;
  int64_t pitch, classes, first_class;
};

// [T] each.
struct RowState {
  float *top, *sum, *picked, *loss;
};

// A block per row: one pass over its logits of this tile with a maximum and a sum per thread, merged with what
// earlier tiles left. The last tile finishes the row: statistics [2, rows].
__global__ void __launch_bounds__(kThreads)
    running_logsumexp(Tile tile, const int64_t* targets, RowState state, float* statistics, int64_t rows,
                      int64_t first_row, int64_t ignored, bool is_first, bool is_last) {
  __shared__ float cells[32];
  const float* logits = tile.logits + int64_t{blockIdx.x} * tile.pitch;
  const int64_t row = first_row + blockIdx.x;
  float top = -INFINITY, sum = 0;
  for (int64_t j = int64_t{threadIdx.x} * 4; j < tile.classes; j += kThreads * 4) {
    float v[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
    if (j + 4 <= tile.classes) {
      const float4 four = *reinterpret_cast<const float4*>(logits + j);
      v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
    } else {
#pragma unroll
      for (int k = 0; k < 3; ++k)
        if (j + k < tile.classes) v[k] = logits[j + k];
    }
    const float now = fmaxf(fmaxf(fmaxf(v[0], v[1]), fmaxf(v[2], v[3])), top),
                safe = now > -INFINITY ? now : 0.0f;
    sum = sum * expf(top - safe) +
          ((expf(v[0] - safe) + expf(v[1] - safe)) + (expf(v[2] - safe) + expf(v[3] - safe)));
    top = now;
  }
  const float before = is_first ? -INFINITY : state.top[row];
  const float now = fmaxf(block_max(top, cells), before), safe = now > -INFINITY ? now : 0.0f;
  const float added = block_sum(sum * expf(top - safe), cells);
  if (threadIdx.x != 0) return;
  const float total = added + (is_first ? 0.0f : state.sum[row] * expf(before - safe));
  const int64_t target = targets[row], place = target - tile.first_class;
  float picked = is_first ? NAN : state.picked[row];
  if (place >= 0 && place < tile.classes) picked = logits[place];
  if (is_last) {
    const bool counts = target != ignored;
    const float log_sum = logf(total);
    statistics[row] = counts ? now : 0.0f, statistics[rows + row] = counts ? log_sum : 0.0f;
    state.loss[row] = counts ? now - picked + log_sum : 0.0f;
  } else {
    state.top[row] = now;
    state.sum[row] = total;
    state.picked[row] = picked;
  }
}

__device__ __forceinline__ float counted_rows(const int64_t* targets, int64_t rows, int64_t ignored,
                                              float* cells) {
  float n = 0;
  for (int64_t i = threadIdx.x; i < rows; i += kReduceThreads) n += targets[i] != ignored ? 1.0f : 0.0f;
  return block_sum(n, cells);
}

__global__ void __launch_bounds__(kReduceThreads)
    cross_entropy_reduce(const float* losses, const int64_t* targets, float* loss, int64_t rows,
                         int64_t ignored, bool mean) {
  __shared__ float cells[32];
  float sum = 0;
  for (int64_t i = threadIdx.x; i < rows; i += kReduceThreads) sum += losses[i];
  sum = block_sum(sum, cells);
  if (mean) sum /= counted_rows(targets, rows, ignored, cells);
  if (threadIdx.x == 0) *loss = sum;
}

__global__ void __launch_bounds__(kReduceThreads)
    loss_scale(Elements g, const int64_t* targets, float* scale, int64_t rows, int64_t ignored, bool mean) {
  __shared__ float cells[32];
  const float counted = mean ? counted_rows(targets, rows, ignored, cells) : 1.0f;
  if (threadIdx.x == 0) *scale = load(g, 0) / counted;
}

// A row per block in y: (exp((logit - maximum) - log of the sum) - [class is the target]) scale, into `to`,
// which may be the logits themselves.
__global__ void __launch_bounds__(kThreads)
    logit_gradients(Tile tile, Elements to, const int64_t* targets, const float* statistics, int64_t rows,
                    const float* scale, int64_t first_row, int64_t ignored) {
  const int64_t j = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * 4, row = first_row + blockIdx.y;
  if (j >= tile.classes) return;
  const int64_t base = int64_t{blockIdx.y} * tile.pitch + j, target = targets[row];
  const bool counts = target != ignored;
  const float top = statistics[row], log_sum = statistics[rows + row], factor = *scale;
  const auto gradient = [&](float logit, int64_t column) {
    if (!counts) return 0.0f;
    const float p = expf((logit - top) - log_sum) * factor;
    return tile.first_class + column == target ? p - factor : p;
  };
  if (j + 4 <= tile.classes) {
    const float4 four = *reinterpret_cast<const float4*>(tile.logits + base);
    const float v[4] = {gradient(four.x, j), gradient(four.y, j + 1), gradient(four.z, j + 2),
                        gradient(four.w, j + 3)};
    store4(to, base, v);
    return;
  }
  for (int64_t k = j; k < tile.classes; ++k)
    store(to, base + (k - j), gradient(tile.logits[base + (k - j)], k));
}

// What the steps of one call work on.
class Loss {
 public:
  Loss(const KernelArgs& args, const LossSteps& steps, const TensorArg& x, const TensorArg& weight,
       const TensorArg& targets)
      : a_(args), s_(steps), x_(x), w_(weight), targets_(targets.as<int64_t>()) {
    for (int b = 0, next = 0; b < LossSteps::kBuffers; ++b)
      buffers_[b] = steps.bytes(static_cast<LossSteps::Buffer>(b)) > 0 ? args.workspace[next++] : nullptr;
  }

  // Makes the launch of one step; what forward and backward do not share is theirs.
  template <class Own>
  void run(Own&& own) {
    int launch_index = 0;
    s_.for_each([&](LossSteps::Step step, int64_t r, int64_t v) {
      const int i = launch_index++;
      const int64_t H = s_.tiles.H, class0 = v * s_.tiles.tile_classes, n = s_.tiles.classes(v) * H;
      switch (step) {
        case LossSteps::Step::convert_x:
          return convert(i, x_.data, x_.dtype, buffers_[LossSteps::converted_x], DType::f32, s_.tiles.T * H);
        case LossSteps::Step::convert_weight:
          return convert(i, at(w_.data, w_.dtype, class0 * H), w_.dtype, buffers_[LossSteps::converted_weight],
                         DType::f32, n);
        case LossSteps::Step::logits:
          return product(i, s_.tiles.rows(r), s_.tiles.classes(v), H, x_rows(s_.logit_operand(), r),
                         transposed(weight_rows(s_.logit_operand(), v)), logits(), DType::f32, s_.pitch(),
                         false);
        default:
          own(step, i, r, v);
      }
    });
  }

  void convert(int launch_index, const void* from, DType from_type, void* to, DType to_type, int64_t n) const {
    PackAxes axes;
    axes.add(n, 1);
    pack(a_, launch_index, from, from_type, to, to_type, axes);
  }
  void product(int launch_index, int64_t m, int64_t n, int64_t k, const GemmOperand& left,
               const GemmOperand& right, void* c, DType c_type, int64_t c_pitch, bool accumulate) const {
    const GemmCall call{.problem = {.m = m,
                                    .n = n,
                                    .k = k,
                                    .a = left,
                                    .b = right,
                                    .c = c,
                                    .c_dtype = c_type,
                                    .c_row_stride = c_pitch,
                                    .c_col_stride = 1,
                                    .accumulate = accumulate}};
    library_gemm(a_, launch_index, call, buffers_[LossSteps::library], s_.library_bytes);
  }

  // Rows of x and of the weight in the type that a product takes.
  GemmOperand x_rows(DType type, int64_t r) const {
    const void* from = type == x_.dtype ? x_.data : buffers_[LossSteps::converted_x];
    return {at(from, type, r * s_.tiles.tile_rows * s_.tiles.H), type, s_.tiles.H, 1};
  }
  GemmOperand weight_rows(DType type, int64_t v) const {
    if (type != w_.dtype) return {buffers_[LossSteps::converted_weight], type, s_.tiles.H, 1};
    return {at(w_.data, type, v * s_.tiles.tile_classes * s_.tiles.H), type, s_.tiles.H, 1};
  }
  static GemmOperand transposed(GemmOperand o) { return {o.data, o.dtype, o.col_stride, o.row_stride}; }
  static std::byte* at(const void* p, DType t, int64_t elements) {
    return static_cast<std::byte*>(const_cast<void*>(p)) + elements * static_cast<int64_t>(size_of(t));
  }

  float* logits() const { return floats(LossSteps::logits); }
  float* floats(LossSteps::Buffer b) const { return reinterpret_cast<float*>(buffers_[b]); }
  std::byte* buffer(LossSteps::Buffer b) const { return buffers_[b]; }
  Tile tile(int64_t v) const { return {logits(), s_.pitch(), s_.tiles.classes(v), v * s_.tiles.tile_classes}; }
  const int64_t* targets() const { return targets_; }

 private:
  const KernelArgs& a_;
  const LossSteps& s_;
  const TensorArg &x_, &w_;
  const int64_t* targets_;
  std::byte* buffers_[LossSteps::kBuffers] = {};
};

void linear_cross_entropy_gpu(KernelArgs& a) {
  const auto& t = a.as<LinearCrossEntropyAttrs>();
  using In = LinearCrossEntropyInput;
  using Out = LinearCrossEntropyOutput;
  const TensorArg &x = a.in[In::x], &w = a.in[In::weight];
  const LossSteps s(x.shape[0], w.shape[0], x.shape[1], x.dtype, w.dtype, a.library_workspace_bytes, false);
  Loss loss(a, s, x, w, a.in[In::targets]);
  const int64_t T = s.tiles.T;
  float* rows = loss.floats(LossSteps::rows);
  const RowState state{rows, rows + T, rows + 2 * T, rows + 3 * T};
  loss.run([&](LossSteps::Step step, int i, int64_t r, int64_t v) {
    if (step == LossSteps::Step::statistics)
      launch(a, i, running_logsumexp, blocks_for(s.tiles.rows(r), 1), kThreads, 0, loss.tile(v), loss.targets(),
             state, a.out[Out::statistics].as<float>(), T, r * s.tiles.tile_rows, t.ignore_index, v == 0,
             v == s.tiles.class_tiles() - 1);
    else
      launch(a, i, cross_entropy_reduce, 1, kReduceThreads, 0, state.loss, loss.targets(),
             a.out[Out::loss].as<float>(), T, t.ignore_index, t.reduction == Reduction::mean);
  });
}

void linear_cross_entropy_backward_gpu(KernelArgs& a) {
  const auto& t = a.as<LinearCrossEntropyAttrs>();
  using In = LinearCrossEntropyBackwardInput;
  const TensorArg &g = a.in[In::dloss], &x = a.in[In::x], &w = a.in[In::weight];
  const LossSteps s(x.shape[0], w.shape[0], x.shape[1], x.dtype, w.dtype, a.library_workspace_bytes, true,
                    t.wants_x, t.wants_weight);
  Loss loss(a, s, x, w, a.in[In::targets]);
  const TensorArg dx = t.wants_x ? a.out[0] : TensorArg{}, dw = t.wants_weight ? a.out[t.wants_x] : TensorArg{};
  const DType type = s.gradient();
  std::byte* gradients =
      type == DType::f32 ? loss.buffer(LossSteps::logits) : loss.buffer(LossSteps::gradients);
  const int64_t H = s.tiles.H, pitch = s.pitch();
  loss.run([&](LossSteps::Step step, int i, int64_t r, int64_t v) {
    const int64_t rows = s.tiles.rows(r), classes = s.tiles.classes(v), row0 = r * s.tiles.tile_rows,
                  class0 = v * s.tiles.tile_classes;
    switch (step) {
      case LossSteps::Step::scale:
        return launch(a, i, loss_scale, 1, kReduceThreads, 0, elements(g), loss.targets(),
                      loss.floats(LossSteps::rows), s.tiles.T, t.ignore_index, t.reduction == Reduction::mean);
      case LossSteps::Step::logit_gradients:
        return launch(a, i, logit_gradients,
                      dim3(blocks_for(classes, kThreads * 4), static_cast<unsigned>(rows)), kThreads, 0,
                      loss.tile(v), Elements{gradients, type}, loss.targets(), a.in[In::statistics].as<float>(),
                      s.tiles.T, loss.floats(LossSteps::rows), row0, t.ignore_index);
      case LossSteps::Step::x_gradient: {
        void* to = s.sums_x() ? Loss::at(loss.buffer(LossSteps::x_sums), DType::f32, row0 * H)
                              : Loss::at(dx.data, dx.dtype, row0 * H);
        return loss.product(i, rows, H, classes, {gradients, type, pitch, 1}, loss.weight_rows(type, v), to,
                            s.sums_x() ? DType::f32 : dx.dtype, H, v > 0);
      }
      case LossSteps::Step::weight_gradient:
        return loss.product(i, classes, H, rows, {gradients, type, 1, pitch}, loss.x_rows(type, r),
                            Loss::at(dw.data, dw.dtype, class0 * H), dw.dtype, H, r > 0);
      default:
        return loss.convert(i, loss.buffer(LossSteps::x_sums), DType::f32, dx.data, dx.dtype, s.tiles.T * H);
    }
  });
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(linear_cross_entropy) {
  return {{"linear_cross_entropy", linear_cross_entropy_gpu},
          {"linear_cross_entropy_backward", linear_cross_entropy_backward_gpu}};
}
