// The loss of a softmax over the last axis, -log p of the target, and its gradient by the logits.
#include "ops/cross_entropy/cross_entropy_eigen.h"
#include "ops/cross_entropy/cross_entropy_attrs.h"

namespace reckon::ops {
namespace {

ReferenceLoss loss_of(const ReferenceCall& c, const HostTensor& logits, const HostTensor& targets) {
  const auto& a = c.as<CrossEntropyAttrs>();
  return {logits.rows(), targets.flat().matrix(), a.reduction, static_cast<double>(a.ignore_index)};
}

HostTensors cross_entropy(const ReferenceCall& c) {
  using In = CrossEntropyInput;
  return loss_of(c, c.in[In::logits], c.in[In::targets]).loss_and_statistics(c.in[In::targets].shape);
}

HostTensors cross_entropy_backward(const ReferenceCall& c) {
  using In = CrossEntropyBackwardInput;
  const RowMajor dx =
      loss_of(c, c.in[In::logits], c.in[In::targets]).gradient(c.in[In::dloss], c.in[In::statistics]);
  return {{c.in[In::logits].shape, std::vector<double>(dx.data(), dx.data() + dx.size())}};
}

}  // namespace

std::vector<OpReference> cross_entropy_references() {
  const double log2 = std::log(2.0), log3 = std::log(3.0), log6 = std::log(6.0);
  const HostTensor logits({3, 3}, {0, log2, log3, 0, log2, log3, 5, 6, 7}),
      targets = whole_numbers({3}, {2, 0, -100});
  const AttrsPtr mean = std::make_shared<CrossEntropyAttrs>(Reduction::mean, -100);
  return {
      {.op = "cross_entropy",
       .compute = cross_entropy,
       .values = {{.name = "logarithms of 1, 2, 3, and an ignored row",
                   .inputs = {logits, targets},
                   .attrs = mean,
                   .outputs = {{Shape{}, {(log2 + log6) / 2}}, {{2, 3}, {log3, log3, 0, log2, log2, 0}}},
                   .source = "p = 1/6, 2/6, 3/6: -log 3/6 = log 2 and -log 1/6 = log 6, the mean of two rows"}},
       .golden = {"ops/cross_entropy_mean_ignore.safetensors", "ops/cross_entropy_sum.safetensors",
                  "ops/cross_entropy_none_large.safetensors"}},
      {.op = "cross_entropy_backward",
       .compute = cross_entropy_backward,
       .values = {{.name = "logarithms of 1, 2, 3, and an ignored row",
                   .inputs = {{Shape{}, {12}}, logits, targets, {{2, 3}, {log3, log3, 0, log2, log2, 0}}},
                   .attrs = mean,
                   .outputs = {{{3, 3}, {1, 2, -3, -5, 2, 3, 0, 0, 0}}},
                   .source = "12/2 times p - [target]: 6 (1, 2, 3) / 6, less 6 at the target"}},
       .golden = {"ops/cross_entropy_mean_ignore.safetensors", "ops/cross_entropy_sum.safetensors",
                  "ops/cross_entropy_none_large.safetensors"}}};
}

}  // namespace reckon::ops
