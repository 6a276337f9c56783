// The FLOPs module of a public coursework on Qwen2.5-0.5B, under its own function and argument
// names: a counting rule of its own (see qwen_flops_notes for what it leaves out), kept so that
// budgets stated in it can be compared with what a run really does. Called by `reckon flops`,
// `reckon parity` and whoever needs that count.
//
// Rules: add, subtract, negate, multiply, divide 1; exp, log, sqrt 10; a product of m x n by n x p is m p (2n -
// 1); backward is twice forward. T = batch_size x seq_len. Sizes must be at least 1 (r, num_layers and
// num_steps at least 0): anything else is an Error, and so is a result beyond 127 bits.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/core/exact.h"

namespace reckon::models {

inline constexpr int64_t kFlopsVocab = 151936;  // fixed there

// T h: a position added to every element.
Exact flops_embedding(int64_t batch_size, int64_t seq_len, int64_t hidden_dim);
// 3 T h (2h - 1) [+ 4 T h r] + B A S^2 (2d - 1) + 12 B A S^2 + B A S d (2S - 1) + T h (2h - 1), d = h / A. d is
// a floating-point quotient and the sum is cut to a whole number, as there: heads need not divide hidden_dim.
Exact flops_attention(int64_t batch_size, int64_t seq_len, int64_t hidden_dim, int64_t num_heads,
                      int64_t r = 0);
// T (2h - 1) f + 14 T f + T (2f - 1) h, f = h x ffn_ratio cut to a whole number.
Exact flops_feedforward(int64_t batch_size, int64_t seq_len, int64_t hidden_dim, double ffn_ratio = 4.0);
// T (4h + 11).
Exact flops_norm(int64_t batch_size, int64_t seq_len, int64_t hidden_dim);
// Attention, feed-forward, two norms and two residual sums of T h.
Exact flops_transformer_block(int64_t batch_size, int64_t seq_len, int64_t hidden_dim, int64_t num_heads,
                              double ffn_ratio = 4.0, int64_t r = 0);
// 11 T V.
Exact flops_cross_entropy_loss(int64_t batch_size, int64_t seq_len);
// Embedding, num_layers blocks, T (2h - 1) V of the head, loss.
Exact flops_qwen_model(int64_t batch_size, int64_t seq_len, int64_t hidden_dim, int64_t num_layers,
                       int64_t num_heads, double ffn_ratio, int64_t r = 0);
// num_steps forward passes, times 3 when training.
Exact flops_for_experiment(int64_t num_steps, int64_t batch_size, int64_t seq_len, int64_t hidden_dim,
                           int64_t num_layers, int64_t num_heads, double ffn_ratio, int64_t r,
                           bool training = true);

// Where that count departs from the network it is about, one sentence each.
std::vector<std::string> qwen_flops_notes();

}  // namespace reckon::models
