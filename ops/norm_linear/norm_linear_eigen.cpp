// y_i = n W_i^T + b_i with n = norm(x) weight + bias, and the gradients.
#include "ops/norm_linear/norm_linear_attrs.h"
#include "ops/reference_norm.h"

namespace reckon::ops {
namespace {

HostTensors norm_linear(const ReferenceCall& c) {
  using In = NormLinearInput;
  const auto& a = c.as<NormLinearAttrs>();
  const HostTensor& x = c.in[In::x];
  const ReferenceNorm norm(a.kind, x.rows(), c.in[In::norm_weight], c.in[In::norm_bias], a.eps);
  HostTensors out;
  for (int i = 0; i < In::n_linears(c.in.size()); ++i) {
    const HostTensor &weight = c.in[In::weight(i)], &bias = c.in[In::bias(i)];
    RowMajor y = norm.rows * weight.rows().transpose();
    if (bias.defined) y.rowwise() += bias.rows().row(0);
    out.push_back(host_tensor(with_last(x.shape, weight.size(0)), y));
  }
  if (a.kind == NormKind::layer) out.push_back(host_tensor(without_last(x.shape), norm.mean));
  out.push_back(host_tensor(without_last(x.shape), norm.rstd));
  return out;
}

// dn = sum over the linears of dy_i W_i, dW_i = dy_i^T n, db_i = the sum of dy_i's rows.
HostTensors norm_linear_backward(const ReferenceCall& c) {
  using In = NormLinearBackwardInput;
  const auto& a = c.as<NormLinearAttrs>();
  const HostTensor &x = c.in[In::x], &weight = c.in[In::norm_weight], &rstd = c.in[In::rstd];
  const Eigen::VectorXd zero = Eigen::VectorXd::Zero(rstd.numel());
  const ReferenceNorm norm(a.kind, x.rows(), weight, c.in[In::norm_bias],
                           a.kind == NormKind::layer ? statistic(c.in[In::mean]) : zero, statistic(rstd));
  RowMajor dn = RowMajor::Zero(x.n_rows(), x.last());
  HostTensors linears;
  for (int i = 0; i < In::n_linears(c.in.size()); ++i) {
    const HostTensor &w = c.in[In::weight(i)], &dy = c.in[In::dout(i)];
    if (dy.defined) dn += dy.rows() * w.rows();
    linears.push_back(dy.defined ? host_tensor(w.shape, dy.rows().transpose() * norm.rows) : HostTensor());
    linears.push_back(dy.defined ? host_tensor({w.size(0)}, dy.rows().colwise().sum()) : HostTensor());
  }
  HostTensors all{host_tensor(x.shape, norm.dx(dn)), host_tensor(weight.shape, norm.dweight(dn)),
                  host_tensor(weight.shape, norm.dbias(dn))};
  all.insert(all.end(), linears.begin(), linears.end());
  return only_wanted(a.needs, all);
}

}  // namespace

// Rows (a, -a) have mean 0 and variance a^2: without an epsilon a layer norm makes
// (1, -1) of them, and so does rms.
std::vector<OpReference> norm_linear_references() {
  const HostTensor x({2, 2}, {3, -3, -2, 2}), norm_weight({2}, {2, 10}), norm_bias({2}, {1, 0}),
      rstd({2}, {1. / 3, 0.5});
  const HostTensor sum({1, 2}, {1, 1}), both({2, 2}, {1, 0, 0, 1});
  return {
      {.op = "norm_linear",
       .compute = norm_linear,
       .values = {{.name = "layer norm, a linear with and one without bias",
                   .inputs = {x, norm_weight, norm_bias, sum, {{1}, {100}}, both, {}},
                   .attrs = std::make_shared<NormLinearAttrs>(NormKind::layer, 0.0),
                   .outputs = {{{2, 1}, {93, 109}}, {{2, 2}, {3, -10, -1, 10}}, {{2}, {0, 0}}, rstd},
                   .source = "n = (1 * 2 + 1, -1 * 10) and (-1 * 2 + 1, 1 * 10)"},
                  {.name = "rms norm",
                   .inputs = {x, norm_weight, {}, sum, {}},
                   .attrs = std::make_shared<NormLinearAttrs>(NormKind::rms, 0.0),
                   .outputs = {{{2, 1}, {-8, 8}}, rstd},
                   .source = "n = (2, -10) and (-2, 10)"}},
       .golden = {}},
      {.op = "norm_linear_backward",
       .compute = norm_linear_backward,
       .values =
           {{.name = "layer norm",
             .inputs = {x, norm_weight, norm_bias, {{2}, {0, 0}}, rstd, sum, {{2, 1}, {1, 3}}},
             .attrs = std::make_shared<NormLinearAttrs>(
                 NormKind::layer, 0.0, (1u << NormLinearInput::weight(1)) - 1 - input_bits(NormLinearInput::x)),
             .outputs = {{{2}, {-2, 2}}, {{2}, {4, 4}}, {{1, 2}, {0, 20}}, {{1}, {4}}},
             .source =
                 "dn = (1, 1) and (3, 3), dweight = dn (1, -1) + dn (-1, 1), dW = 1 (3, -10) + 3 (-1, 10)"},
            {.name = "rms norm",
             .inputs = {x, norm_weight, {}, {}, rstd, sum, {{2, 1}, {1, 3}}},
             .attrs = std::make_shared<NormLinearAttrs>(
                 NormKind::rms, 0.0, input_bits(NormLinearInput::x, NormLinearInput::norm_weight)),
             .outputs = {{{2, 2}, {2, 2, 9, 9}}, {{2}, {-2, 2}}},
             .source = "g = dn weight = (2, 10) and (6, 30), g x_hat has the means -4 and 12: "
                       "dx = 1/3 (2 + 4, 10 - 4) and 1/2 (6 + 12, 30 - 12)"}},
       .golden = {}}};
}

}  // namespace reckon::ops
