// norm_linear for rows wider than tiles: normalised rows in a workspace, products by the
// library. See norm_linear_gpu.h.
#include "ops/kernel/gpu/column_sums.cuh"
#include "ops/kernel/gpu/gradient_sums.cuh"
#include "ops/kernel/gpu/wide_norm.h"
#include "ops/norm_linear/norm_linear.cuh"

namespace reckon::ops::gpu {

// Workspaces: the library's, normalised rows.
void norm_linear_wide_gpu(KernelArgs& a) {
  const auto& attrs = a.as<NormLinearAttrs>();
  using In = NormLinearInput;
  const int n_linears = In::n_linears(a.n_in);
  const TensorArg& x = a.in[In::x];
  const int64_t rows = x.rows();
  const WideNorm norm{attrs.kind,
                      x,
                      a.in[In::norm_weight],
                      a.in[In::norm_bias],
                      attrs.kind == NormKind::layer ? a.out[n_linears].as<float>() : nullptr,
                      a.out[a.n_out - 1].as<float>(),
                      attrs.eps};
  const RowMatrix normed{a.workspace[1], a.in[In::weight(0)].dtype, x.last()};
  const LibraryRows products{a, a.workspace[0]};
  norm.normalise(a, 0, 0, rows, normed, true);
  for (int i = 0; i < n_linears; ++i)
    products.multiply_by_weight(1 + i, rows, normed, a.in[In::weight(i)], a.in[In::bias(i)], rows_of(a.out[i]));
}

// in x, norm weight, norm bias, mean, rstd, then W_i, dy_i.
void norm_linear_backward_wide_gpu(KernelArgs& a) {
  using Steps = WideNormLinearSteps;
  const auto& attrs = a.as<NormLinearAttrs>();
  using In = NormLinearBackwardInput;
  using Forward = NormLinearInput;
  const int n_linears = In::n_linears(a.n_in);
  const TensorArg& x = a.in[In::x];
  const auto weight = [&](int i) -> const TensorArg& { return a.in[In::weight(i)]; };
  const auto dy = [&](int i) -> const TensorArg& { return a.in[In::dout(i)]; };
  uint32_t used = 0;
  for (int i = 0; i < n_linears; ++i) used |= uint32_t{dy(i).defined()} << i;
  const Steps s(attrs.needs, used, n_linears, x.rows(), x.last(), weight(0).dtype, a.library_workspace_bytes,
                [&](int i) { return weight(i).shape[0]; });

  std::byte* buffers[Steps::kBuffers] = {};
  for (int b = 0, next = 0; b < Steps::kBuffers; ++b)
    if (s.bytes(static_cast<Steps::Buffer>(b)) > 0) buffers[b] = a.workspace[next++];
  TensorArg gradients[Forward::weight(kMaxNormLinears)];  // by input of the forward op
  for (int i = 0, next = 0; i < Forward::weight(n_linears); ++i)
    if (s.wants(i)) gradients[i] = a.out[next++];

  const WideNorm norm{attrs.kind,
                      x,
                      a.in[In::norm_weight],
                      a.in[In::norm_bias],
                      a.in[In::mean].as<float>(),
                      a.in[In::rstd].as<float>(),
                      attrs.eps};
  const LibraryRows products{a, buffers[Steps::library]};
  const RowMatrix normed{buffers[Steps::rows_of_norm], weight(0).dtype, s.c},
      dn{buffers[Steps::rows_of_norm], DType::f32, s.c};
  auto* const norm_sums = reinterpret_cast<float*>(buffers[Steps::norm_sums]);
  auto* const bias_sums = reinterpret_cast<float*>(buffers[Steps::bias_sums]);
  int launches = 0;
  bool accumulates = false;
  s.for_each([&](Steps::Step step, int i) {
    const int index = launches++;
    switch (step) {
      case Steps::Step::normalise:
        return norm.normalise(a, index, 0, s.rows, normed, false);
      case Steps::Step::weight_gradient:
        return products.weight_gradient(index, s.rows, rows_of(dy(i)), normed,
                                        rows_of(gradients[Forward::weight(i)]), false);
      case Steps::Step::sum_columns: {
        ColumnSums sums;
        for (int l = 0; l < n_linears; ++l)
          if (s.bias[l] >= 0) sums.add(dy(l), bias_sums + s.bias[l]);
        return launch_column_sums(a, index, sums, s.rows, s.bias_floats);
      }
      case Steps::Step::rows_gradient:
        products.multiply_back(index, s.rows, rows_of(dy(i)), weight(i), dn, accumulates);
        accumulates = true;
        return;
      case Steps::Step::norm_backward:
        return norm.gradient(a, index, 0, s.rows, dn, rows_of(gradients[Forward::x]), norm_sums,
                             s.wants(Forward::norm_weight), s.wants(Forward::norm_bias));
      case Steps::Step::sum_gradients: {
        GradientSums sums;
        for (int k : {Forward::norm_weight, Forward::norm_bias})
          if (s.wants(k))
            sums.add(gradients[k],
                     norm_sums + (k == Forward::norm_bias && s.wants(Forward::norm_weight) ? s.c : 0),
                     norm_gpu_pieces(s.rows, s.c), s.n_norm_sums() * s.c);
        for (int l = 0; l < n_linears; ++l)
          if (s.bias[l] >= 0)
            sums.add(gradients[4 + 2 * l], bias_sums + s.bias[l], ColumnPieces(s.rows).pieces, s.bias_floats);
        return launch_sum_gradients(a, index, sums);
      }
    }
  });
}

}  // namespace reckon::ops::gpu
