// W2 relu(W1 n + b1) + b2 and W_o (silu(W_a n) W_b n) with n = LN(x), and their gradients.
#include "ops/reference_norm.h"
#include "ops/transition/transition_attrs.h"

namespace reckon::ops {
namespace {

RowMajor relu(const RowMajor& x) { return x.cwiseMax(0.0); }
RowMajor sigmoid(const RowMajor& x) { return (1 + (-x.array()).exp()).inverse(); }

void add_bias(RowMajor& y, const HostTensor& bias) {
  if (bias.defined) y.rowwise() += bias.rows().row(0);
}

// Without a weight the rows pass as they are.
ReferenceNorm norm_of(const ReferenceCall& c) {
  using In = TransitionInput;
  const HostTensor &x = c.in[In::x], &weight = c.in[In::ln_weight];
  if (weight.defined)
    return {NormKind::layer, x.rows(), weight, c.in[In::ln_bias], c.as<TransitionAttrs>().eps};
  const Eigen::VectorXd zero = Eigen::VectorXd::Zero(x.n_rows()), one = Eigen::VectorXd::Ones(x.n_rows());
  return {NormKind::layer,
          x.rows(),
          HostTensor({x.last()}, std::vector<double>(static_cast<size_t>(x.last()), 1.0)),
          {},
          zero,
          one};
}

ReferenceNorm kept_norm_of(const ReferenceCall& c) {
  using In = TransitionBackwardInput;
  return {NormKind::layer,   c.in[In::x].rows(),        c.in[In::ln_weight],
          c.in[In::ln_bias], statistic(c.in[In::mean]), statistic(c.in[In::rstd])};
}

HostTensors relu_transition(const ReferenceCall& c) {
  using In = ReluTransitionInput;
  const HostTensor &x = c.in[In::x], &w1 = c.in[In::w1], &w2 = c.in[In::w2];
  const ReferenceNorm norm = norm_of(c);
  RowMajor hidden = norm.rows * w1.rows().transpose();
  add_bias(hidden, c.in[In::b1]);
  hidden = relu(hidden);
  RowMajor y = hidden * w2.rows().transpose();
  add_bias(y, c.in[In::b2]);
  HostTensors out{host_tensor(with_last(x.shape, w2.size(0)), y)};
  if (c.keeps) out.push_back(host_tensor(with_last(x.shape, w1.size(0)), hidden));
  out.push_back(host_tensor(without_last(x.shape), norm.mean));
  out.push_back(host_tensor(without_last(x.shape), norm.rstd));
  return out;
}

// dhidden = dy W2 where the hidden unit is positive; dW = (gradient of its result)^T (what it multiplied).
HostTensors relu_transition_backward(const ReferenceCall& c) {
  using In = ReluTransitionBackwardInput;
  const HostTensor &dy = c.in[In::dout], &x = c.in[In::x], &hidden = c.in[In::hidden];
  const HostTensor &weight = c.in[In::ln_weight], &w1 = c.in[In::w1], &w2 = c.in[In::w2];
  const ReferenceNorm norm = kept_norm_of(c);
  const RowMajor dhidden =
      (hidden.rows().array() > 0).select(dy.rows() * w2.rows(), RowMajor::Zero(hidden.n_rows(), hidden.last()));
  const RowMajor dn = dhidden * w1.rows();
  return only_wanted(
      c.as<TransitionAttrs>().needs,
      {host_tensor(x.shape, norm.dx(dn)), host_tensor(weight.shape, norm.dweight(dn)),
       host_tensor(weight.shape, norm.dbias(dn)), host_tensor(w1.shape, dhidden.transpose() * norm.rows),
       host_tensor({w1.size(0)}, dhidden.colwise().sum()),
       host_tensor(w2.shape, dy.rows().transpose() * hidden.rows()),
       host_tensor({w2.size(0)}, dy.rows().colwise().sum())});
}

HostTensors swiglu_transition(const ReferenceCall& c) {
  using In = SwigluTransitionInput;
  const HostTensor &x = c.in[In::x], &wa = c.in[In::w_a], &wb = c.in[In::w_b], &wo = c.in[In::w_o];
  const ReferenceNorm norm = norm_of(c);
  const RowMajor a = norm.rows * wa.rows().transpose(), b = norm.rows * wb.rows().transpose();
  const RowMajor product = a.cwiseProduct(sigmoid(a)).cwiseProduct(b);
  const Shape hidden = with_last(x.shape, wa.size(0));
  HostTensors out{host_tensor(with_last(x.shape, wo.size(0)), product * wo.rows().transpose())};
  if (c.keeps) out.insert(out.end(), {host_tensor(hidden, a), host_tensor(hidden, b)});
  if (c.in[In::ln_weight].defined) {
    out.push_back(host_tensor(without_last(x.shape), norm.mean));
    out.push_back(host_tensor(without_last(x.shape), norm.rstd));
  }
  return out;
}

// silu(a) = a s with s = sigmoid(a), so silu'(a) = s + a s (1 - s).
HostTensors swiglu_transition_backward(const ReferenceCall& c) {
  using In = SwigluTransitionBackwardInput;
  const HostTensor &dy = c.in[In::dout], &x = c.in[In::x], &weight = c.in[In::ln_weight];
  const HostTensor &wa = c.in[In::w_a], &wb = c.in[In::w_b], &wo = c.in[In::w_o];
  const RowMajor a = c.in[In::a].rows(), b = c.in[In::b].rows(), s = sigmoid(a), silu = a.cwiseProduct(s);
  const RowMajor dproduct = dy.rows() * wo.rows();
  const RowMajor db = dproduct.cwiseProduct(silu);
  const RowMajor da = dproduct.array() * b.array() * (s.array() + silu.array() * (1 - s.array()));
  const RowMajor dn = da * wa.rows() + db * wb.rows();
  const bool normalised = weight.defined;
  const RowMajor n = normalised ? kept_norm_of(c).rows : RowMajor(x.rows());
  return only_wanted(c.as<TransitionAttrs>().needs,
                     {host_tensor(x.shape, normalised ? kept_norm_of(c).dx(dn) : dn),
                      normalised ? host_tensor(weight.shape, kept_norm_of(c).dweight(dn)) : HostTensor(),
                      normalised ? host_tensor(weight.shape, kept_norm_of(c).dbias(dn)) : HostTensor(),
                      host_tensor(wa.shape, da.transpose() * n), host_tensor(wb.shape, db.transpose() * n),
                      host_tensor(wo.shape, dy.rows().transpose() * a.cwiseProduct(s).cwiseProduct(b))});
}

}  // namespace

std::vector<OpReference> transition_references() {
  const double log3 = std::log(3.0);
  const HostTensor x({1, 2}, {3, -3}), ones({2}, {1, 1}), zero_bias({2}, {0, 0}),
      statistics[2] = {{{1}, {0}}, {{1}, {1. / 3}}};
  const HostTensor w1({2, 2}, {1, 0, 0, 1}), b1({2}, {4, -4}), w2({1, 2}, {5, 7}), b2({1}, {1});
  const HostTensor one({1, 1}, {1}), wa({1, 1}, {log3}), wb({1, 1}, {2}), wo({1, 1}, {4});
  const auto attrs = [](uint32_t needs = 0) { return std::make_shared<TransitionAttrs>(0.0, needs); };
  using Relu = ReluTransitionInput;
  using Swiglu = SwigluTransitionInput;
  return {
      {.op = "relu_transition",
       .compute = relu_transition,
       .values = {{.name = "one unit is off",
                   .inputs = {x, ones, {}, w1, b1, w2, b2},
                   .attrs = attrs(),
                   .outputs = {{{1, 1}, {26}}, statistics[0], statistics[1]},
                   .source = "n = (1, -1), hidden = relu(1 + 4, -1 - 4) = (5, 0), 5 * 5 + 1"}},
       .golden = {"evoformer/sub_msa_transition.safetensors", "evoformer/sub_pair_transition.safetensors"}},
      {.op = "relu_transition_backward",
       .compute = relu_transition_backward,
       .values =
           {{.name = "one unit is off",
             .inputs =
                 {{{1, 1}, {2}}, x, ones, zero_bias, statistics[0], statistics[1], {{1, 2}, {5, 0}}, w1, w2},
             .attrs = attrs(input_bits(Relu::ln_weight, Relu::ln_bias, Relu::w1, Relu::b1, Relu::w2, Relu::b2)),
             .outputs = {{{2}, {10, 0}},
                         {{2}, {10, 0}},
                         {{2, 2}, {10, -10, 0, 0}},
                         {{2}, {10, 0}},
                         {{1, 2}, {10, 0}},
                         {{1}, {2}}},
             .source = "dhidden = (2 * 5, 0); W1 is the identity, so it is dn too; times n = (1, -1)"}},
       .golden = {"evoformer/sub_msa_transition.safetensors", "evoformer/sub_pair_transition.safetensors"}},
      {.op = "swiglu_transition",
       .compute = swiglu_transition,
       .values = {{.name = "no norm, one unit",
                   .inputs = {one, {}, {}, wa, wb, wo},
                   .attrs = attrs(),
                   .outputs = {{{1, 1}, {6 * log3}}},
                   .source = "sigmoid(log 3) = 3/4: 4 * (3/4 log 3 * 2)"}},
       .golden = {"evoformer/af3_swiglu_transition.safetensors"}},
      {.op = "swiglu_transition_backward",
       .compute = swiglu_transition_backward,
       .values =
           {{.name = "no norm, one unit",
             .inputs = {one, one, {}, {}, {}, {}, {{1, 1}, {log3}}, {{1, 1}, {2}}, wa, wb, wo},
             .attrs = attrs(input_bits(Swiglu::x, Swiglu::w_a, Swiglu::w_b, Swiglu::w_o)),
             .outputs = {{{1, 1}, {12 * log3 + 1.5 * log3 * log3}},
                         {{1, 1}, {6 + 1.5 * log3}},
                         {{1, 1}, {3 * log3}},
                         {{1, 1}, {1.5 * log3}}},
             .source =
                 "the product has the gradient 4: db = 4 * 3/4 log 3, da = 4 * 2 (3/4 + 3/4 log 3 * 1/4), "
                 "dx = log 3 da + 2 db"}},
       .golden = {"evoformer/af3_swiglu_transition.safetensors"}}};
}

}  // namespace reckon::ops
