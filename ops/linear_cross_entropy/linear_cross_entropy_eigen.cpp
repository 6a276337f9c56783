// Cross entropy of logits = x W^T, and its gradients by x and W.
#include "ops/cross_entropy/cross_entropy_eigen.h"
#include "ops/linear_cross_entropy/linear_cross_entropy_attrs.h"

namespace reckon::ops {
namespace {

ReferenceLoss loss_of(const ReferenceCall& c, const HostTensor& x, const HostTensor& weight,
                      const HostTensor& targets) {
  const auto& a = c.as<LinearCrossEntropyAttrs>();
  return {x.rows() * weight.rows().transpose(), targets.flat().matrix(), a.reduction,
          static_cast<double>(a.ignore_index)};
}

HostTensors linear_cross_entropy(const ReferenceCall& c) {
  using In = LinearCrossEntropyInput;
  const HostTensor& targets = c.in[In::targets];
  return loss_of(c, c.in[In::x], c.in[In::weight], targets).loss_and_statistics(targets.shape);
}

// With d the gradient of the logits: dx = d W, dW = d^T x.
HostTensors linear_cross_entropy_backward(const ReferenceCall& c) {
  using In = LinearCrossEntropyBackwardInput;
  const auto& a = c.as<LinearCrossEntropyAttrs>();
  const HostTensor &x = c.in[In::x], &weight = c.in[In::weight];
  const RowMajor d = loss_of(c, x, weight, c.in[In::targets]).gradient(c.in[In::dloss], c.in[In::statistics]);
  HostTensor dx(x.shape), dweight(weight.shape);
  dx.rows() = d * weight.rows();
  dweight.rows() = d.transpose() * x.rows();
  HostTensors wanted;
  if (a.wants_x) wanted.push_back(dx);
  if (a.wants_weight) wanted.push_back(dweight);
  return wanted;
}

}  // namespace

std::vector<OpReference> linear_cross_entropy_references() {
  const double log2 = std::log(2.0), log3 = std::log(3.0), log6 = std::log(6.0);
  const HostTensor x({2, 1}, {1, 1}), weight({3, 1}, {0, log2, log3}), targets = whole_numbers({2}, {2, 0});
  return {{.op = "linear_cross_entropy",
           .compute = linear_cross_entropy,
           .values = {{.name = "logarithms of 1, 2, 3",
                       .inputs = {x, weight, targets},
                       .attrs = std::make_shared<LinearCrossEntropyAttrs>(Reduction::sum, -100),
                       .outputs = {{Shape{}, {log2 + log6}}, {{2, 2}, {log3, log3, log2, log2}}},
                       .source = "p = 1/6, 2/6, 3/6: -log 3/6 = log 2 and -log 1/6 = log 6"}}},
          {.op = "linear_cross_entropy_backward",
           .compute = linear_cross_entropy_backward,
           .values = {{.name = "logarithms of 1, 2, 3",
                       .inputs = {{Shape{}, {6}}, x, weight, targets, {{2, 2}, {log3, log3, log2, log2}}},
                       .attrs = std::make_shared<LinearCrossEntropyAttrs>(Reduction::sum, -100),
                       .outputs = {{{2, 1}, {2 * log2 - 3 * log3, 2 * log2 + 3 * log3}}, {{3, 1}, {-4, 4, 0}}},
                       .source =
                           "gradients of the logits: 6 (p - [target]) = (1, 2, -3) and (-5, 2, 3); dx is their "
                           "product with (0, log 2, log 3), dW the sum of both rows"}}}};
}

}  // namespace reckon::ops
