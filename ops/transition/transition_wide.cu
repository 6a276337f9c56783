// The transitions where rows or outputs are wider than tiles: the library multiplies, these kernels do what
// lies between. See transition_wide.h for the way through the chunks of rows.
#include "ops/kernel/gpu/column_sums.cuh"
#include "ops/kernel/gpu/elementwise.cuh"
#include "ops/kernel/gpu/gradient_sums.cuh"
#include "ops/kernel/gpu/logistic.cuh"
#include "ops/kernel/gpu/wide_norm.h"
#include "ops/kernel/plan/pack.h"
#include "ops/transition/transition.cuh"
#include "ops/transition/transition_wide.h"

namespace reckon::ops::gpu {
namespace {

struct Gate {
  __device__ __forceinline__ float operator()(float a, float b) const { return a * logistic(a) * b; }
};

// in a, b, dp, the gradient of their product silu(a) b; out da, db, the product.
struct GateGradient {
  using Grouped = void;
  template <int N>
  __device__ __forceinline__ void group(int64_t, const float (&in)[3][N], float (&out)[3][N]) const {
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float a = in[0][k], b = in[1][k], dp = in[2][k], s = logistic(a), silu = a * s;
      out[0][k] = dp * b * (s + silu * (1.0f - s));
      out[1][k] = dp * silu;
      out[2][k] = silu * b;
    }
  }
};

__device__ __forceinline__ float relu_gradient_of(float g, float y) { return y > 0 ? g : (y == y ? 0.0f : y); }

// The gradient of the relu's output becomes that of its input, in place, and is
// summed over the rows on the way.
struct ReluColumns {
  Elements gradient, hidden;

  struct Raw {
    RawFour gradient, hidden;
  };
  __device__ __forceinline__ Raw issue(int64_t at) const {
    return {issue_four(gradient, at), issue_four(hidden, at)};
  }
  __device__ __forceinline__ void values(const Raw& raw, int64_t at, float (&v)[4]) const {
    float kept[4];
    four_values(raw.gradient, gradient.dtype, v);
    four_values(raw.hidden, hidden.dtype, kept);
#pragma unroll
    for (int k = 0; k < 4; ++k) v[k] = relu_gradient_of(v[k], kept[k]);
    store4(gradient, at, v);
  }
  __device__ __forceinline__ float one(int64_t at) const {
    const float v = relu_gradient_of(load(gradient, at), load(hidden, at));
    store(gradient, at, v);
    return v;
  }
};

// Blocks: column tiles by pieces of the rows. `sums`: [pieces, h], or null.
__global__ void __launch_bounds__(kColumnThreads)
    relu_gradient(ReluColumns columns, int64_t rows, int64_t h, int64_t rows_per_piece, bool fours,
                  float* sums) {
  const int64_t column0 = int64_t{blockIdx.x} * kColumnTile, first = blockIdx.y * rows_per_piece;
  if (column0 >= h) return;
  sum_columns(columns, h, column0, first, first + rows_per_piece < rows ? first + rows_per_piece : rows, fours,
              sums ? sums + blockIdx.y * h : nullptr);
}

// The addresses of one call: of its arguments whole, of the workspaces per chunk.
struct Transition {
  const KernelArgs& a;
  const WideTransition& s;
  std::byte* buffers[WideTransition::kBuffers] = {};

  Transition(const KernelArgs& args, const WideTransition& steps) : a(args), s(steps) {
    for (int b = 0, next = 0; b < WideTransition::kBuffers; ++b)
      if (steps.bytes(static_cast<WideTransition::Buffer>(b)) > 0) buffers[b] = args.workspace[next++];
  }

  LibraryRows products() const { return {a, buffers[WideTransition::library]}; }
  RowMatrix rows(DType type) const { return {buffers[WideTransition::rows], type, s.sizes.c}; }
  RowMatrix tile(WideTransition::Buffer b) const { return {buffers[b], s.weights, s.sizes.h}; }
  float* floats(WideTransition::Buffer b) const { return reinterpret_cast<float*>(buffers[b]); }

  void convert(int index, const void* from, DType from_type, void* to, DType to_type, int64_t n) const {
    PackAxes axes;
    axes.add(n, 1);
    pack(a, index, from, from_type, to, to_type, axes);
  }
  // Rows of a chunk as the products read them.
  void normalise(int index, const WideNorm& norm, int64_t row0, int64_t m, bool finds) const {
    const RowMatrix from = rows_of(norm.x).from_row(row0);
    if (s.normalised)
      norm.normalise(a, index, row0, m, rows(s.weights), finds);
    else
      convert(index, from.data, from.dtype, rows(s.weights).data, s.weights, m * s.sizes.c);
  }
  RowMatrix operand(const WideNorm& norm, int64_t row0) const {
    return s.reads_x() ? rows_of(norm.x).from_row(row0) : rows(s.weights);
  }
};

// The calls of f(step, launch, chunk's first row, chunk's rows).
template <class F>
void for_each_launch(const WideTransition& s, F&& f) {
  int launches = 0;
  s.for_each([&](WideTransition::Step step, int64_t chunk) {
    f(step, launches++, chunk, chunk * s.chunks.height, s.chunks.of(chunk));
  });
}

}  // namespace

void transition_wide_gpu(KernelArgs& a, bool gated) {
  using Step = WideTransition::Step;
  using Buffer = WideTransition::Buffer;
  using In = TransitionInput;
  const TensorArg &x = a.in[In::x], &w_a = a.in[In::w_in], &w_out = a.in[In::w_out], &y = a.out[0];
  const bool normalised = a.in[In::ln_weight].defined(), keeps = a.n_out - (normalised ? 2 : 0) > 1;
  const WideTransition s({gated, x.rows(), x.last(), w_a.shape[0], w_out.shape[0]}, x.dtype, w_a.dtype,
                         normalised, keeps, a.library_workspace_bytes);
  const Transition t(a, s);
  const LibraryRows products = t.products();
  const WideNorm norm{NormKind::layer,
                      x,
                      a.in[In::ln_weight],
                      a.in[In::ln_bias],
                      normalised ? a.out[a.n_out - 2].as<float>() : nullptr,
                      normalised ? a.out[a.n_out - 1].as<float>() : nullptr,
                      a.as<TransitionAttrs>().eps};
  const auto kept = [&](int output, Buffer otherwise, int64_t row0) {
    return keeps ? rows_of(a.out[output]).from_row(row0) : t.tile(otherwise);
  };
  for_each_launch(s, [&](Step step, int index, int64_t, int64_t row0, int64_t m) {
    const RowMatrix h_a = kept(1, WideTransition::tile_a, row0),
                    h_b = gated ? kept(2, WideTransition::tile_b, row0) : RowMatrix{};
    const RowMatrix hidden = gated ? t.tile(WideTransition::tile_a) : h_a;
    switch (step) {
      case Step::normalise:
        return t.normalise(index, norm, row0, m, true);
      case Step::project_a:
        return products.multiply_by_weight(index, m, t.operand(norm, row0), w_a,
                                           gated ? TensorArg{} : a.in[ReluTransitionInput::b1], h_a,
                                           gated ? GemmEpilogue::none : GemmEpilogue::relu);
      case Step::project_b:
        return products.multiply_by_weight(index, m, t.operand(norm, row0), a.in[SwigluTransitionInput::w_b],
                                           {}, h_b);
      case Step::gate: {
        const TensorArg in[2] = {h_a.argument(m), h_b.argument(m)}, out[1] = {hidden.argument(m)};
        return elementwise<2, 1>(a, index, in, out, Gate{});
      }
      default:
        return products.multiply_by_weight(index, m, hidden, w_out,
                                           gated ? TensorArg{} : a.in[ReluTransitionInput::b2],
                                           rows_of(y).from_row(row0));
    }
  });
}

namespace {

// The last launch of backward. `gradients`: by input of the forward op.
void sum_gradients(KernelArgs& a, int index, const WideTransition& s, const TensorArg* gradients,
                   const float* norm_sums, const float* b_a_sums, const float* b_out_sums) {
  GradientSums sums;
  for (int k : {TransitionInput::ln_weight, TransitionInput::ln_bias})
    if (s.wants(k)) {
      sums.add(gradients[k], norm_sums, s.norm_pieces(), s.n_norm_sums() * s.sizes.c);
      norm_sums += s.sizes.c;
    }
  if (s.wants_b_a()) sums.add(gradients[ReluTransitionInput::b1], b_a_sums, s.b_a_pieces(), s.sizes.h);
  if (s.wants_b_out()) sums.add(gradients[ReluTransitionInput::b2], b_out_sums, s.b_out_pieces(), s.sizes.out);
  launch_sum_gradients(a, index, sums);
}

// da [m, h], in place the gradient of the relu's input; `sums` of its columns by pieces of the rows, or null.
void through_relu(const KernelArgs& a, int index, const TensorArg& da, const TensorArg& kept, float* sums) {
  const int64_t m = da.rows(), h = da.last();
  const ColumnPieces pieces(m);
  const bool fours = takes_fours(da, h) && takes_fours(kept, h);
  launch(a, index, relu_gradient, dim3(blocks_for(h, kColumnTile), static_cast<unsigned>(pieces.pieces)),
         kColumnThreads, 0, ReluColumns{elements(da), elements(kept)}, m, h, pieces.rows_per_piece, fours,
         sums);
}

}  // namespace

void transition_backward_wide_gpu(KernelArgs& a, bool gated) {
  using Step = WideTransition::Step;
  const auto& attrs = a.as<TransitionAttrs>();
  using In = TransitionBackwardInput;
  using Relu = ReluTransitionBackwardInput;
  using Gated = SwigluTransitionBackwardInput;
  using Forward = TransitionInput;
  const auto in = [&](int of_gated, int of_relu) -> const TensorArg& {
    return a.in[gated ? of_gated : of_relu];
  };
  const TensorArg &dy = a.in[In::dout], &x = a.in[In::x], &w_a = in(Gated::w_a, Relu::w1),
                  &w_b = in(Gated::w_b, Relu::w1), &w_out = in(Gated::w_o, Relu::w2);
  const int64_t c = x.last(), h = w_a.shape[0], out = w_out.shape[0];
  const bool normalised = a.in[In::ln_weight].defined();
  const WideTransition s = WideTransition::gradients({gated, x.rows(), c, h, out}, x.dtype, w_a.dtype,
                                                     normalised, attrs.needs, a.library_workspace_bytes);
  const Transition t(a, s);
  const LibraryRows products = t.products();
  float *const mean = a.in[In::mean].as<float>(), *const rstd = a.in[In::rstd].as<float>();
  const WideNorm norm{NormKind::layer, x, a.in[In::ln_weight], a.in[In::ln_bias], mean, rstd, attrs.eps};
  TensorArg gradients[ReluTransitionInput::n_inputs];  // by input of the forward op
  for (int i = 0, next = 0; i < ReluTransitionInput::n_inputs; ++i)
    if (s.wants(i)) gradients[i] = a.out[next++];
  const TensorArg &dx = gradients[Forward::x], &dw_a = gradients[Forward::w_in],
                  &dw_b = gradients[SwigluTransitionInput::w_b], &dw_out = gradients[Forward::w_out];

  float* const b_a_sums = t.floats(WideTransition::bias_sums);
  float* const b_out_sums = b_a_sums + (s.wants_b_a() ? s.b_a_pieces() * h : 0);
  const int n_norm_sums = s.n_norm_sums();
  const int64_t pieces_of_chunk = norm_gpu_pieces(s.chunks.height, c),
                b_a_pieces_of_chunk = ColumnPieces(s.chunks.height).pieces;

  for_each_launch(s, [&](Step step, int index, int64_t chunk, int64_t row0, int64_t m) {
    const RowMatrix g = rows_of(dy).from_row(row0), kept_a = rows_of(a.in[In::kept]).from_row(row0),
                    kept_b = gated ? rows_of(a.in[Gated::b]).from_row(row0) : RowMatrix{};
    const RowMatrix da = t.tile(WideTransition::tile_a), db = t.tile(WideTransition::tile_b),
                    product = t.tile(WideTransition::tile_c);
    const RowMatrix dn = s.writes_dx() ? rows_of(dx).from_row(row0) : t.rows(DType::f32);
    switch (step) {
      case Step::sum_outputs: {
        ColumnSums sums;
        sums.add(dy, b_out_sums);
        return launch_column_sums(a, index, sums, x.rows(), out);
      }
      case Step::hidden_gradient:
        return products.multiply_back(index, m, g, w_out, gated ? db : da, false);
      case Step::through_relu:
        return through_relu(a, index, da.argument(m), kept_a.argument(m),
                            s.wants_b_a() ? b_a_sums + chunk * b_a_pieces_of_chunk * h : nullptr);
      case Step::through_gate: {
        const TensorArg in[3] = {kept_a.argument(m), kept_b.argument(m), db.argument(m)},
                        to[3] = {da.argument(m), db.argument(m), product.argument(m)};
        return elementwise<3, 3>(a, index, in, to, GateGradient{});
      }
      case Step::w_out_gradient:
        return products.weight_gradient(index, m, g, gated ? product : kept_a, rows_of(dw_out), chunk > 0);
      case Step::normalise:
        return t.normalise(index, norm, row0, m, false);
      case Step::w_a_gradient:
        return products.weight_gradient(index, m, da, t.operand(norm, row0), rows_of(dw_a), chunk > 0);
      case Step::w_b_gradient:
        return products.weight_gradient(index, m, db, t.operand(norm, row0), rows_of(dw_b), chunk > 0);
      case Step::rows_gradient_a:
        return products.multiply_back(index, m, da, w_a, dn, false);
      case Step::rows_gradient_b:
        return products.multiply_back(index, m, db, w_b, dn, true);
      case Step::norm_backward: {
        const RowMatrix to = rows_of(dx).from_row(row0);
        if (!normalised) return t.convert(index, dn.data, dn.dtype, to.data, to.dtype, m * c);
        return norm.gradient(a, index, row0, m, dn, to,
                             t.floats(WideTransition::norm_sums) + chunk * pieces_of_chunk * n_norm_sums * c,
                             s.wants(Forward::ln_weight), s.wants(Forward::ln_bias));
      }
      default:
        return sum_gradients(a, index, s, gradients, t.floats(WideTransition::norm_sums), b_a_sums, b_out_sums);
    }
  });
}

}  // namespace reckon::ops::gpu
