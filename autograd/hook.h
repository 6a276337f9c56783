// Connects the calls of ops to the graph: autocast, dispatch, then a node with what backward needs.
#pragma once

#include <cstdint>
#include <span>

#include "ops/op.h"

namespace reckon::autograd {

void install_hook();  // for all threads; idempotent

// Hangs a node for a call that was already made on its outputs; `needs` has bit i set when input i wants a
// gradient. `plan` is the one the call followed, or would have. In the first run of a checkpointed segment the
// outputs are only marked.
void attach_node(const ops::OpDef& op, std::span<const Tensor> inputs, const ops::AttrsPtr& attrs,
                 uint32_t needs, const ops::Plan& plan, TensorList& outputs);

// Hash of the ops recorded or run since the last reset: a recomputed segment must
// take the path it took at first.
uint64_t trace_hash();
void set_trace_hash(uint64_t h);

}  // namespace reckon::autograd
