// The elementwise functions and what they cost: one list for the op's
// declarations, its CPU and its GPU kernels.
#pragma once

// name, keeps its output, forward FLOPs and special functions, backward FLOPs and
// special functions (per element)
#define RECKON_ACTIVATIONS(X)      \
  X(relu, true, 1, 0, 0, 0)        \
  X(sigmoid, true, 2, 1, 3, 0)     \
  X(tanh, true, 0, 1, 3, 0)        \
  X(exp, true, 0, 1, 1, 0)         \
  X(log, false, 0, 1, 1, 0)        \
  X(sqrt, true, 0, 1, 2, 0)        \
  X(silu, false, 3, 1, 7, 1)       \
  X(gelu, false, 4, 1, 9, 2)       \
  X(gelu_tanh, false, 8, 1, 18, 1) \
  X(abs, false, 1, 0, 0, 0)        \
  X(cos, false, 0, 1, 1, 1)
