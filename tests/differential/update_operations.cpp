// Writes in place, conversions, and what an optimizer runs. None of it is in the graph.
#include "ops/adamw/adamw.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/copy_into/copy_into.h"
#include "ops/fill/fill.h"
#include "ops/grad_norm/grad_norm.h"
#include "ops/grad_scaler/grad_scaler.h"
#include "ops/sgd/sgd.h"
#include "runtime/core/element.h"
#include "tests/differential/generator.h"
#include "tests/differential/values.h"

namespace reckon::differential {
namespace {

// A cast to the type it has already is a view, and in f64 every cast would be one.
TensorList call_cast(const Call& c) { return {c.in_f64 ? ops::copy(c[0]) : ops::cast(c[0], c.type("type"))}; }
bool make_cast(Generator& g) {
  const std::string x = g.pick({});
  Statement s{.word = "cast", .ins = {x}};
  return g.add(std::move(s.set("type", g.other_type(x))), g.bound(x));
}

bool make_cast_all(Generator& g) {
  Statement s{.word = "cast_all"};
  double bound = 0;
  for (int n = g.between(1, 3); n > 0; --n) {
    s.ins.push_back(g.pick({}));
    bound = std::max(bound, g.bound(s.ins.back()));
  }
  const int n = static_cast<int>(s.ins.size());
  return g.add(std::move(s.set("type", g.type())), bound, n);
}

bool make_detach(Generator& g) {
  const std::string x = g.pick({.least_rank = 0});
  return g.add({.word = "detach", .ins = {x}}, g.bound(x));
}

bool make_fill(Generator& g) {
  const std::string x = g.writable();
  if (x.empty()) return false;
  Statement s{.word = "fill", .ins = {x}};
  return g.add(std::move(s.set("value", g.number(-2, 2))), 2, 0);
}

bool make_fill_random(Generator& g) {
  const std::string x = g.writable();
  if (x.empty()) return false;
  Statement s{.word = "fill_random", .ins = {x}};
  s.set("kind", g.one_of<std::string>({"uniform", "normal", "truncated_normal"}));
  return g.add(std::move(s.set("stream", g.below(1000))), 6, 0);
}

bool make_fill_causal(Generator& g) {
  const std::string x = g.writable();
  if (x.empty() || g.shape_of(x).rank() < 2) return false;
  return g.add(std::move(Statement{.word = "fill_causal", .ins = {x}}.set("value", -2.0)), 2, 0);
}

bool make_write(Generator& g, const char* word) {
  const std::string x = g.writable();
  if (x.empty()) return false;
  const std::string from = g.leaf(g.shape_of(x), {.type = g.type_of(x)});
  return g.add({.word = word, .ins = {x, from}}, g.bound(x) + 2, 0);
}

bool make_copy_from_host(Generator& g) {
  const std::string x = g.writable();
  if (x.empty() || g.shape_of(x).rank() == 0) return false;
  return g.add(g.host_values({.word = "copy_from_host", .ins = {x}}), 2, 0);
}

TensorList call_copy_from_host(const Call& c) {
  const Tensor& t = c[0];
  const auto bytes =
      bytes_of(drawn(c.s.text("values"), c.s.number("scale", 1), static_cast<size_t>(t.numel())), t.dtype());
  if (t.device().executes()) {
    t.copy_from_host(bytes.data(), bytes.size());
  } else {  // no data, but a write
    t.storage()->announce_write();
    t.storage()->bump_version();
  }
  return {};
}

ops::Distribution distribution_of(const Call& c) {
  const std::string kind = c.s.text("kind");
  return kind == "uniform"  ? ops::Distribution::uniform
         : kind == "normal" ? ops::Distribution::normal
                            : ops::Distribution::truncated_normal;
}

// Inputs of an optimizer: parameters, gradients, then as many of each further state.
std::span<Tensor> group(TensorList& all, size_t n, size_t k) { return std::span(all).subspan(k * n, n); }

ops::AdamWSettings adamw_settings(const Call& c) {
  return {.lr = 0.125,
          .beta1 = 0.75,
          .beta2 = 0.875,
          .eps = 1e-3,
          .weight_decay = c.s.number("decay"),
          .step = c.s.integer("step", 1),
          .decoupled = c.s.integer("decoupled", 1) != 0};
}

TensorList call_adamw(const Call& c) {
  TensorList all = c.in;
  const auto n = static_cast<size_t>(c.s.integer("n"));
  const Tensor skip = all[4 * n];
  const auto updates = std::span(all).subspan(4 * n + 1);
  if (c.s.integer("fused") != 0) {
    ops::adamw_all(group(all, n, 0), group(all, n, 1), group(all, n, 2), group(all, n, 3), adamw_settings(c),
                   {}, skip, updates);
    return {};
  }
  for (size_t i = 0; i < n; ++i)
    ops::adamw_eager(all[i], all[n + i], all[2 * n + i], all[3 * n + i], adamw_settings(c), {}, skip,
                     updates.empty() ? Tensor() : updates[i]);
  return {};
}

TensorList call_sgd(const Call& c) {
  TensorList all = c.in;
  const ops::SgdSettings settings{.lr = 0.125,
                                  .momentum = c.s.number("momentum"),
                                  .dampening = c.s.integer("nesterov") != 0 ? 0 : 0.25,
                                  .weight_decay = c.s.number("decay"),
                                  .nesterov = c.s.integer("nesterov") != 0,
                                  .step = c.s.integer("step", 1)};
  ops::sgd(all[0], all[1], all[2], settings);
  return {};
}

TensorList call_clip(const Call& c) {
  TensorList all = c.in;
  const Tensor norm = c.s.integer("fused") != 0 ? ops::grad_norm(all) : ops::grad_norm_eager(all);
  const Tensor factor = ops::clip_coefficient(norm, c.s.number("most"));
  ops::scale_all_(all, factor);
  return {norm, factor, ops::non_finite(all)};
}

TensorList call_scaler(const Call& c) {
  TensorList all = c.in;
  ops::scaler_update(all[0], all[1], all[2], 2, 0.5, 2);
  return {};
}

std::vector<size_t> first(const Statement&) { return {0}; }
std::vector<size_t> every(const Statement& s) {
  std::vector<size_t> all(s.ins.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = i;
  return all;
}
std::vector<size_t> all_but_gradients(const Statement& s) {
  std::vector<size_t> written;
  const auto n = static_cast<size_t>(s.integer("n", 1));
  for (size_t i = 0; i < s.ins.size(); ++i)
    if ((i < n || i >= 2 * n) && i != 4 * n) written.push_back(i);
  return written;
}

std::vector<Operation> writes() {
  return {
      {"fill",
       [](const Call& c) {
         ops::fill(c[0], c.s.number("value"));
         return TensorList{};
       },
       make_fill, first, false, 1},
      {"fill_causal",
       [](const Call& c) {
         ops::fill_causal(c[0], c.s.number("value"));
         return TensorList{};
       },
       make_fill_causal, first, false, 1},
      {"fill_random",
       [](const Call& c) {
         ops::fill_random(c[0], distribution_of(c), 0, 1, 5, c.s.natural("stream"));
         return TensorList{};
       },
       make_fill_random, first, false, 1},
      {"copy_into",
       [](const Call& c) {
         ops::copy_into(c[0], c[1]);
         return TensorList{};
       },
       [](Generator& g) { return make_write(g, "copy_into"); }, first, false, 1},
      {"accumulate",
       [](const Call& c) {
         Tensor sum = c[0];
         ops::accumulate(sum, c[1]);
         return TensorList{};
       },
       [](Generator& g) { return make_write(g, "accumulate"); }, first, false, 1},
      {"copy_from_host", call_copy_from_host, make_copy_from_host, first, false, 1},
  };
}

}  // namespace

std::vector<Operation> update_operations() {
  std::vector<Operation> all = writes();
  // The optimizer's are written by the generator behind a backward.
  const std::vector<Operation> rest = {
      {"cast", call_cast, make_cast},
      {.word = "detach",
       .call = [](const Call& c) { return TensorList{c[0].detached()}; },
       .make = make_detach,
       .constant = true,
       .weight = 1},
      {.word = "cast_all",
       .call = [](const Call& c) { return ops::cast_all(c.in, c.type("type")); },
       .make = make_cast_all,
       .constant = true,
       .weight = 1},
      {"adamw", call_adamw, nullptr, all_but_gradients},
      {"sgd", call_sgd, nullptr, all_but_gradients},
      {.word = "clip", .call = call_clip, .make = nullptr, .writes = every, .constant = true},
      {"scaler_update", call_scaler, nullptr,
       [](const Statement&) {
         return std::vector<size_t>{0, 1};
       }},
  };
  all.insert(all.end(), rest.begin(), rest.end());
  return all;
}

}  // namespace reckon::differential
