// Stochastic gradient descent with momentum, dampening, Nesterov's form and decay in the gradient, in the order
// in which torch.optim.SGD documents them.
#include "ops/reference.h"
#include "ops/sgd/sgd_attrs.h"

namespace reckon::ops {
namespace {

HostTensors sgd(const ReferenceCall& c) {
  const SgdSettings& s = c.as<SgdAttrs>().s;
  const HostTensor &buffer = c.in[sgd_in::momentum_buffer], &scale = c.in[sgd_in::grad_scale],
                   &skip = c.in[sgd_in::skip];
  const Shape& shape = c.in[sgd_in::param].shape;
  Eigen::ArrayXd p = c.in[sgd_in::param].flat(), g = c.in[sgd_in::grad].flat(), b;
  if (buffer.defined) b = buffer.flat();
  if (!skip.defined || skip.values[0] == 0) {
    if (scale.defined) g *= scale.values[0];
    g += s.weight_decay * p;
    if (s.momentum != 0) {
      b = s.step == 1 ? g : Eigen::ArrayXd(s.momentum * b + (1 - s.dampening) * g);
      g = s.nesterov ? Eigen::ArrayXd(g + s.momentum * b) : b;
    }
    p -= s.lr * g;
  }
  if (!buffer.defined) return {shaped(shape, p)};
  return {shaped(shape, p), shaped(shape, b)};
}

// One number p with gradient 2 and a momentum buffer, and what they become.
OpValues update(std::string name, SgdSettings settings, std::array<double, 2> before,
                std::array<double, 2> after, std::string source, HostTensor skip = {}) {
  const auto one = [](double x) { return HostTensor({1}, {x}); };
  return {.name = std::move(name),
          .inputs = {one(before[0]), one(2), one(before[1]), {}, skip},
          .attrs = std::make_shared<SgdAttrs>(settings),
          .outputs = {one(after[0]), one(after[1])},
          .source = std::move(source)};
}

}  // namespace

std::vector<OpReference> sgd_references() {
  const SgdSettings first{.lr = 0.1, .momentum = 0.5}, second{.lr = 0.1, .momentum = 0.5, .step = 2},
      nesterov{.lr = 0.1, .momentum = 0.5, .nesterov = true, .step = 2},
      dampened{.lr = 0.1, .momentum = 0.5, .dampening = 0.25, .weight_decay = 1, .step = 2};
  return {{.op = "sgd",
           .compute = sgd,
           .values = {update("first step", first, {1, 9}, {0.8, 2}, "b = g = 2, p = 1 - 0.1 2"),
                      update("second step", second, {0.8, 2}, {0.5, 3}, "b = 0.5 2 + 2 = 3, p = 0.8 - 0.1 3"),
                      update("nesterov", nesterov, {0.8, 2}, {0.45, 3}, "b = 3, p = 0.8 - 0.1 (2 + 0.5 3)"),
                      update("dampening and decay", dampened, {2, 4}, {1.5, 5},
                             "g = 2 + 1 2 = 4, b = 0.5 4 + 0.75 4 = 5, p = 2 - 0.1 5"),
                      update("skipped", second, {0.8, 2}, {0.8, 2},
                             "a set skip flag leaves everything as it is", HostTensor({1}, {1}))},
           .golden = {"ops/sgd_momentum.safetensors"}}};
}

}  // namespace reckon::ops
