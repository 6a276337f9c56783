// The triangle multiplication. x = LN(z); a = mask sigmoid(W_ag x + b_ag) (W_a x + b_a), b
// likewise; channel by channel t = a b^T (outgoing) or a^T b (incoming); out = (W_z LN(t) + b_z)
// sigmoid(W_g x + b_g). And the gradients.
#include "ops/reference_norm.h"
#include "ops/triangle_multiply/triangle_multiply_attrs.h"

namespace reckon::ops {
namespace {

using namespace triangle;

RowMajor sigmoid(const RowMajor& x) { return (1 + (-x.array()).exp()).inverse(); }

// The R x R matrix of one channel of one batch element of rows [B R R, c].
RowMajor channel(const RowMajor& rows, int64_t batch, int64_t R, int64_t ch) {
  return rows.col(ch).segment(batch * R * R, R * R).reshaped<Eigen::RowMajor>(R, R);
}
void set_channel(RowMajor& rows, int64_t batch, int64_t R, int64_t ch, const RowMajor& m) {
  rows.col(ch).segment(batch * R * R, R * R) = m.reshaped<Eigen::RowMajor>();
}

void apply_mask(RowMajor& rows, const HostTensor& mask) {
  if (mask.defined) rows = mask.flat().matrix().asDiagonal() * rows;
}

// A side after its gate, from the two projections.
RowMajor gated(const RowMajor& value, const RowMajor& gate, const HostTensor& mask) {
  RowMajor side = value.cwiseProduct(sigmoid(gate));
  apply_mask(side, mask);
  return side;
}

HostTensors triangle_multiply(const ReferenceCall& c) {
  const auto& attrs = c.as<TriangleMultiplyAttrs>();
  const HostTensor& zt = c.in[z];
  const int64_t B = zt.size(0), R = zt.size(1), channels = c.in[w_a].size(0);
  const auto linear = [&](const RowMajor& x, int w) -> RowMajor {
    RowMajor y = x * c.in[w].rows().transpose();
    if (c.in[bias_of(w)].defined) y.rowwise() += c.in[bias_of(w)].rows().row(0);
    return y;
  };
  const ReferenceNorm in(NormKind::layer, zt.rows(), c.in[ln_in_w], c.in[ln_in_b], attrs.eps);
  const RowMajor value_a = linear(in.rows, w_a), gate_a = linear(in.rows, w_ag), value_b = linear(in.rows, w_b),
                 gate_b = linear(in.rows, w_bg);
  const RowMajor side_a = gated(value_a, gate_a, c.in[mask]), side_b = gated(value_b, gate_b, c.in[mask]);
  RowMajor product(zt.n_rows(), channels);
  for (int64_t batch = 0; batch < B; ++batch)
    for (int64_t ch = 0; ch < channels; ++ch) {
      const RowMajor a = channel(side_a, batch, R, ch), b = channel(side_b, batch, R, ch);
      set_channel(product, batch, R, ch,
                  attrs.outgoing ? RowMajor(a * b.transpose()) : RowMajor(a.transpose() * b));
    }
  const ReferenceNorm out(NormKind::layer, product, c.in[ln_out_w], c.in[ln_out_b], attrs.eps);
  const RowMajor projected = linear(out.rows, w_z), gate = linear(in.rows, w_g);
  const auto rows = [&](const RowMajor& m) { return host_tensor(with_last(zt.shape, m.cols()), m); };
  const auto statistic = [&](const Eigen::VectorXd& v) { return host_tensor(without_last(zt.shape), v); };
  return {rows(projected.cwiseProduct(sigmoid(gate))),
          rows(value_a),
          rows(gate_a),
          rows(value_b),
          rows(gate_b),
          rows(product),
          rows(projected),
          rows(gate),
          statistic(in.mean),
          statistic(in.rstd),
          statistic(out.mean),
          statistic(out.rstd)};
}

// From the gradient of sigmoid(x) that of x.
RowMajor through_sigmoid(const RowMajor& d, const RowMajor& s) {
  return d.array() * s.array() * (1 - s.array());
}

// t = a b^T gives da = dt b and db = dt^T a; t = a^T b gives da = b dt^T and db = a dt. A projection x W^T + b
// with the gradient d gives dW = d^T x, db = the sum of d's rows, dx = d W.
HostTensors triangle_multiply_backward(const ReferenceCall& c) {
  const auto& attrs = c.as<TriangleMultiplyAttrs>();
  const auto in = [&](int k) -> const HostTensor& { return c.in[triangle_input(k)]; };
  const auto kept = [&](int k) -> RowMajor { return c.in[triangle_kept(k)].rows(); };
  const auto norm_of = [&](const RowMajor& x, int w, int b, int mean, int rstd) {
    return ReferenceNorm(NormKind::layer, x, in(w), in(b), statistic(c.in[triangle_kept(mean)]),
                         statistic(c.in[triangle_kept(rstd)]));
  };
  HostTensors gradients(n_inputs);
  const auto back = [&](int w, const RowMajor& d, const RowMajor& x) -> RowMajor {
    gradients[w] = host_tensor(in(w).shape, d.transpose() * x);
    gradients[bias_of(w)] = host_tensor({in(w).size(0)}, d.colwise().sum());
    return d * in(w).rows();
  };
  const auto back_through_norm = [&](const ReferenceNorm& norm, int w, int b, const RowMajor& d) -> RowMajor {
    gradients[w] = host_tensor(in(w).shape, norm.dweight(d));
    gradients[b] = host_tensor(in(w).shape, norm.dbias(d));
    return norm.dx(d);
  };

  const ReferenceNorm norm_in = norm_of(in(z).rows(), ln_in_w, ln_in_b, mean_in, rstd_in),
                      norm_out = norm_of(kept(t), ln_out_w, ln_out_b, mean_out, rstd_out);
  const RowMajor dout = c.in[kTriangleDout].rows(), out_gate = sigmoid(kept(g));
  const RowMajor dt =
      back_through_norm(norm_out, ln_out_w, ln_out_b, back(w_z, dout.cwiseProduct(out_gate), norm_out.rows));
  RowMajor dx = back(w_g, through_sigmoid(dout.cwiseProduct(kept(o)), out_gate), norm_in.rows);

  const RowMajor side_a = gated(kept(pa), kept(pag), in(mask)), side_b = gated(kept(pb), kept(pbg), in(mask));
  RowMajor da(dt.rows(), dt.cols()), db(dt.rows(), dt.cols());
  for (int64_t batch = 0, R = in(z).size(1); batch < in(z).size(0); ++batch)
    for (int64_t ch = 0; ch < dt.cols(); ++ch) {
      const RowMajor a = channel(side_a, batch, R, ch), b = channel(side_b, batch, R, ch),
                     d = channel(dt, batch, R, ch);
      set_channel(da, batch, R, ch, attrs.outgoing ? RowMajor(d * b) : RowMajor(b * d.transpose()));
      set_channel(db, batch, R, ch, attrs.outgoing ? RowMajor(d.transpose() * a) : RowMajor(a * d));
    }
  const auto back_through_gate = [&](RowMajor d, int w, int value, int gate) {
    apply_mask(d, in(mask));
    const RowMajor s = sigmoid(kept(gate));
    dx += back(w, d.cwiseProduct(s), norm_in.rows);
    dx += back(gate_of(w), through_sigmoid(d.cwiseProduct(kept(value)), s), norm_in.rows);
  };
  back_through_gate(da, w_a, pa, pag);
  back_through_gate(db, w_b, pb, pbg);
  gradients[z] = host_tensor(in(z).shape, back_through_norm(norm_in, ln_in_w, ln_in_b, dx));
  return only_wanted(attrs.needs, gradients);
}

}  // namespace

// One position, whose norm makes (1, -1) of (3, -3): every product can be done by hand.
std::vector<OpReference> triangle_multiply_references() {
  const double log3 = std::log(3.0);
  HostTensors in(n_inputs);
  const HostTensor ones({2}, {1, 1}), zeros({2, 2}, {0, 0, 0, 0});
  in[z] = {{1, 1, 1, 2}, {3, -3}};
  in[ln_in_w] = in[ln_out_w] = ones;
  in[ln_out_b] = {{2}, {0, 0}};
  in[w_a] = {{2, 2}, {1, 0, 0, 1}};
  in[w_b] = {{2, 2}, {2, 0, 0, -2}};
  in[w_ag] = in[w_bg] = zeros;
  in[w_z] = {{1, 2}, {3, 0}};
  in[b_z] = {{1}, {1}};
  in[w_g] = {{1, 2}, {0, 0}};
  in[b_g] = {{1}, {log3}};
  HostTensors gradient_in{{{1, 1, 1, 1}, {16}}};
  for (int k = 0; k < n_inputs; ++k) gradient_in.push_back(k == b_z || k == b_g ? HostTensor() : in[k]);
  const Shape position{1, 1, 1}, two{1, 1, 1, 2}, one{1, 1, 1, 1};
  const HostTensors kept{{two, {1, -1}},       {two, {0, 0}},   {two, {2, 2}},  {two, {0, 0}},
                         {two, {0.5, -0.5}},   {one, {4}},      {one, {log3}},  {position, {0}},
                         {position, {1. / 3}}, {position, {0}}, {position, {2}}};
  gradient_in.insert(gradient_in.end(), kept.begin(), kept.end());
  return {
      {.op = "triangle_multiply",
       .compute = triangle_multiply,
       .values = {{.name = "one position",
                   .inputs = in,
                   .attrs = std::make_shared<TriangleMultiplyAttrs>(true, 0.0),
                   .outputs = {{{1, 1, 1, 1}, {3}}},
                   .source =
                       "x = (1, -1), gates 1/2: a = (1/2, -1/2), b = (1, 1), t = (1/2, -1/2), LN(t) = (1, -1); "
                       "(3 * 1 + 1) sigmoid(log 3) = 4 * 3/4"}},
       .golden = {"evoformer/sub_tri_mul_outgoing.safetensors", "evoformer/sub_tri_mul_incoming.safetensors"}},
      {.op = "triangle_multiply_backward",
       .compute = triangle_multiply_backward,
       .values = {{.name = "one position, the output's parameters",
                   .inputs = gradient_in,
                   .attrs = std::make_shared<TriangleMultiplyAttrs>(
                       true, 0.0, input_bits(ln_out_w, ln_out_b, w_z, b_z, w_g, b_g)),
                   .outputs = {{{2}, {36, 0}},
                               {{2}, {36, 0}},
                               {{1, 2}, {12, -12}},
                               {{1}, {12}},
                               {{1, 2}, {12, -12}},
                               {{1}, {12}}},
                   .source = "of W_z LN(t) + b_z = 4 the gradient is 16 * 3/4, of the gate's log 3 it is "
                             "16 * 4 * 3/4 * 1/4, both 12, times LN(t) = x = (1, -1); dLN(t) = 12 (3, 0)"}},
       .golden = {"evoformer/sub_tri_mul_outgoing.safetensors", "evoformer/sub_tri_mul_incoming.safetensors"}}};
}

}  // namespace reckon::ops
