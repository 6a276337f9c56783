// Backward: runs nodes from the latest call to the earliest, adds gradients up, and drops what each node kept
// as soon as it ran. The order of additions is the order of the calls, whatever the checkpoint policy, so
// results agree bit for bit between policies.
#pragma once

#include "autograd/node.h"

namespace reckon::autograd {

// Gradients of sum(root * seed) into the leaves below root. Without a seed, root must have
// one element and the seed is 1.
void backward(const Tensor& root, const Tensor& seed = {});
// Several roots at once.
void backward(std::span<const Tensor> roots, std::span<const Tensor> seeds);

// For nodes that rebuild their part of the graph while running: adds a gradient to an output of that part.
void deliver(const std::shared_ptr<AutogradMeta>& target, Tensor grad);

}  // namespace reckon::autograd
