// softmax(x) = exp(x) / sum exp(x) over each row, its logarithm, and log sum exp(x); with their gradients.
#include "ops/reference.h"
#include "ops/softmax/softmax_inputs.h"

namespace reckon::ops {
namespace {

HostTensor each_row(const HostTensor& like, auto formula) {
  HostTensor out(like.shape);
  if (like.numel() == 0) return out;
  for (int64_t r = 0; r < like.n_rows(); ++r) out.rows().row(r) = formula(r);
  return out;
}

RowArray exp_shifted(const auto& x) { return (x.array() - x.maxCoeff()).exp(); }

HostTensors softmax(const ReferenceCall& c) {
  const HostTensor& x = c.in[0];
  return {each_row(x, [&](int64_t r) -> RowArray {
    const RowArray e = exp_shifted(x.rows().row(r));
    return e / e.sum();
  })};
}

// dx_i = y_i (g_i - sum_j g_j y_j)
HostTensors softmax_backward(const ReferenceCall& c) {
  const HostTensor &g = c.in[softmax_backward_in::g], &y = c.in[softmax_backward_in::y];
  return {each_row(y, [&](int64_t r) -> RowArray {
    return y.rows().row(r).array() * (g.rows().row(r).array() - g.rows().row(r).dot(y.rows().row(r)));
  })};
}

double log_sum_exp(const auto& x) { return x.maxCoeff() + std::log(exp_shifted(x).sum()); }

HostTensors log_softmax(const ReferenceCall& c) {
  const HostTensor& x = c.in[0];
  return {each_row(
      x, [&](int64_t r) -> RowArray { return x.rows().row(r).array() - log_sum_exp(x.rows().row(r)); })};
}

// y = log p, so dx_i = g_i - p_i sum_j g_j
HostTensors log_softmax_backward(const ReferenceCall& c) {
  const HostTensor &g = c.in[softmax_backward_in::g], &y = c.in[softmax_backward_in::y];
  return {each_row(y, [&](int64_t r) -> RowArray {
    return g.rows().row(r).array() - y.rows().row(r).array().exp() * g.rows().row(r).sum();
  })};
}

HostTensors logsumexp(const ReferenceCall& c) {
  const HostTensor& x = c.in[0];
  const Shape rows = x.shape.slice(0, x.shape.rank() - 1);
  Shape both{2};
  for (int64_t extent : rows) both.push_back(extent);
  HostTensor out(rows), statistics(both);
  bool finite = true;
  for (int64_t r = 0; r < x.n_rows(); ++r) {
    const double top = x.last() > 0 ? x.rows().row(r).maxCoeff() : -HUGE_VAL;
    if (std::isinf(top)) {  // the logarithm of infinity, or of nothing
      out.values[r] = top;
      finite = false;
      continue;
    }
    out.values[r] = log_sum_exp(x.rows().row(r));
    statistics.values[r] = top;
    statistics.values[x.n_rows() + r] = std::log(exp_shifted(x.rows().row(r)).sum());
  }
  return {out, finite ? statistics : HostTensor()};
}

// dx_i = g softmax(x)_i = g exp(x_i - y), where y is the sum of the two statistics
HostTensors logsumexp_backward(const ReferenceCall& c) {
  const HostTensor &g = c.in[logsumexp_backward_in::g], &x = c.in[logsumexp_backward_in::x],
                   &statistics = c.in[logsumexp_backward_in::statistics];
  return {each_row(x, [&](int64_t r) -> RowArray {
    const double y = statistics.values[r] + statistics.values[x.n_rows() + r];
    return g.values[r] * (x.rows().row(r).array() - y).exp();
  })};
}

}  // namespace

std::vector<OpReference> softmax_references() {
  const double log2 = std::log(2.0), log3 = std::log(3.0), log6 = std::log(6.0);
  const std::string counts = "exp(log k) = k: the row holds the logarithms of 1, 2, 3, which sum to 6";
  return {{.op = "softmax",
           .compute = softmax,
           .golden = {"ops/softmax_last.safetensors", "ops/softmax_dim1.safetensors"}},
          {.op = "softmax_backward", .compute = softmax_backward, .golden = {"ops/softmax_last.safetensors"}},
          {.op = "log_softmax", .compute = log_softmax, .golden = {"ops/log_softmax_last.safetensors"}},
          {.op = "log_softmax_backward",
           .compute = log_softmax_backward,
           .golden = {"ops/log_softmax_last.safetensors"}},
          {.op = "logsumexp",
           .compute = logsumexp,
           .values = {{.name = "logarithms of 1, 2, 3",
                       .inputs = {{{1, 3}, {0, log2, log3}}},
                       .outputs = {{{1}, {log6}}, {{2, 1}, {log3, log2}}},
                       .source = counts}}},
          {.op = "logsumexp_backward",
           .compute = logsumexp_backward,
           .values = {{.name = "logarithms of 1, 2, 3",
                       .inputs = {{{1}, {12}}, {{1, 3}, {0, log2, log3}}, {{2, 1}, {log3, log2}}},
                       .outputs = {{{1, 3}, {2, 4, 6}}},
                       .source = counts + "; the gradient 12 is shared out as 1/6, 2/6, 3/6"}}}};
}

}  // namespace reckon::ops
