// The ops that blocks of models are made of, and the chains around them.
#include "ops/attention/attention.h"
#include "ops/conv2d/conv2d.h"
#include "ops/einsum/einsum.h"
#include "ops/norm_linear/norm_linear.h"
#include "ops/outer_product_mean/outer_product_mean.h"
#include "ops/transition/transition.h"
#include "ops/triangle_multiply/triangle_multiply.h"
#include "tests/differential/generator.h"

namespace reckon::differential {
namespace {

double eps_of(const Call& c) { return c.s.number("eps", 1e-5); }
bool has_long_rows(const Shape& s) { return s.rank() > 0 && s.back() > 2; }

TensorList call_attention(const Call& c) {
  const ops::AttentionOptions options{.scale = c.s.number("scale", 1),
                                      .causal = c.s.integer("causal") != 0,
                                      .mask_value = c.s.number("mask_value", -1e9)};
  return {ops::attention(c[0], c[1], c[2], c[3], c[4], options)};
}

// Heads of a projection, [B, N, H, L, D] as a view of [B, N, L, H D], or a leaf of its own.
std::string heads(Generator& g, const std::string& x, int64_t h, int64_t d) {
  const Shape shape = g.shape_of(x);
  if (g.chance(0.3)) return g.leaf({shape[0], shape[1], h, shape[2], d}, {.dense = true});
  const std::string w = g.leaf({h * d, shape[3]}, {.scale = 0.25, .dense = true});
  const std::string y = g.emit({.word = "linear", .ins = {x, w, "_"}}, 8);
  if (y.empty()) return y;
  Statement split{.word = "reshape", .ins = {y}};
  const std::string z = g.emit(std::move(split.set("shape", Dims{shape[0], shape[1], shape[2], h, d})), 8);
  Statement turned{.word = "permute", .ins = {z}};
  return z.empty() ? z : g.emit(std::move(turned.set("axes", Dims{0, 1, 3, 2, 4})), 8);
}

bool make_attention(Generator& g) {
  std::string x = g.chance(0.5) ? g.pick({.least_rank = 4, .elements = true, .most = 4}) : "";
  if (x.empty()) x = g.leaf({g.between(1, 2), g.between(1, 2), g.between(1, 7), g.between(1, 5)});
  const Shape shape = g.shape_of(x);
  const bool causal = g.chance(0.4), self = g.chance(0.6);
  std::string memory = x;
  if (!self) memory = g.leaf({shape[0], shape[1], shape[2] + g.between(0, 3), shape[3]}, {.dense = true});
  const int64_t kv = g.between(1, 2), h = kv * g.between(1, 2), d = g.one_of<int64_t>({1, 2, 3, 4, 8});
  const std::string q = heads(g, x, h, d), k = heads(g, memory, kv, d), v = heads(g, memory, kv, d);
  if (q.empty() || k.empty() || v.empty()) return false;
  const int64_t lk = g.shape_of(memory)[2];
  std::string mask = "_", bias = "_";
  // A row whose keys are all masked: in f32 the value swallows the scores where it is large.
  const bool whole_rows = g.chance(0.3);
  if (g.chance(0.5)) {
    const std::string kind = whole_rows ? "mask" : fmt::format("mask:{}", lk);
    mask = g.leaf({shape[0], shape[1], lk}, {.kind = kind, .dense = true, .constant = true});
  }
  if (g.chance(0.5))
    bias =
        g.leaf({g.chance(0.5) ? 1 : shape[0], g.chance(0.5) ? 1 : shape[1], h, shape[2], lk}, {.dense = true});
  Statement s{.word = "attention", .ins = {q, k, v, mask, bias}};
  s.set("scale", g.one_of({0.5, 1.0})).set("causal", static_cast<int>(causal));
  return g.add(std::move(s.set("mask_value", whole_rows ? g.one_of({-4.0, -32.0}) : g.one_of({-1e4, -1e9}))),
               8);
}

// Inputs: x, the norm's weight and bias, then the weights, then the biases where `biases` is 1.
TensorList call_norm_linear(const Call& c) {
  const auto n = static_cast<size_t>(c.s.integer("n"));
  const std::span<const Tensor> all(c.in);
  const bool biases = c.s.integer("biases") != 0;
  return ops::norm_linear(c[0], c.s.text("kind") == "rms" ? ops::NormKind::rms : ops::NormKind::layer, c[1],
                          c[2], eps_of(c), all.subspan(3, n),
                          biases ? all.subspan(3 + n, n) : std::span<const Tensor>{});
}

bool make_norm_linear(Generator& g) {
  const std::string x = g.pick({.least_rank = 1, .fits = has_long_rows});
  if (x.empty()) return false;
  const int64_t c = g.shape_of(x).back();
  const int n = g.between(1, 3);
  const bool rms = g.chance(0.5), biases = g.chance(0.5), dense = g.dense_parameters();
  Statement s{.word = "norm_linear", .ins = {x, g.leaf({c}, {.kind = "positive", .dense = dense})}};
  s.ins.push_back(rms ? "_" : g.maybe_leaf({c}, {.dense = dense}));
  std::vector<int64_t> widths;
  for (int i = 0; i < n; ++i) {
    widths.push_back(g.between(1, 8));
    s.ins.push_back(g.leaf({widths.back(), c}, {.scale = 0.25, .dense = dense}));
  }
  for (int i = 0; i < n && biases; ++i) s.ins.push_back(g.maybe_leaf({widths[i]}, {.dense = dense}));
  s.set("n", n).set("biases", static_cast<int>(biases)).set("kind", std::string(rms ? "rms" : "layer"));
  return g.add(std::move(s), 16, n);
}

bool make_relu_transition(Generator& g) {
  const std::string x = g.pick({.least_rank = 1, .fits = has_long_rows});
  if (x.empty()) return false;
  const int64_t c = g.shape_of(x).back(), h = g.between(1, 8), out = g.between(1, 8);
  const bool dense = g.dense_parameters();
  const LeafOptions norm{.kind = "positive", .dense = dense}, weight{.scale = 0.25, .dense = dense},
      bias{.dense = dense};
  Statement s{.word = "relu_transition", .ins = {x, g.leaf({c}, norm), g.maybe_leaf({c}, bias)}};
  s.ins.push_back(g.leaf({h, c}, weight));
  s.ins.push_back(g.maybe_leaf({h}, bias));
  s.ins.push_back(g.leaf({out, h}, weight));
  s.ins.push_back(g.maybe_leaf({out}, bias));
  return g.add(std::move(s), 32);
}

bool make_swiglu_transition(Generator& g) {
  const std::string x = g.pick({.least_rank = 1, .most = 8, .fits = has_long_rows});
  if (x.empty()) return false;
  const int64_t c = g.shape_of(x).back(), h = g.between(1, 8), out = g.between(1, 8);
  const bool dense = g.dense_parameters(), normed = g.chance(0.6);
  const LeafOptions weight{.scale = 0.25, .dense = dense};
  Statement s{.word = "swiglu_transition", .ins = {x, "_", "_"}};
  if (normed) {
    s.ins[1] = g.leaf({c}, {.kind = "positive", .dense = dense});
    s.ins[2] = g.maybe_leaf({c}, {.dense = dense});
  }
  for (const Shape& shape : {Shape{h, c}, Shape{h, c}, Shape{out, h}}) s.ins.push_back(g.leaf(shape, weight));
  return g.add(std::move(s), 64);
}

TensorList call_outer_product_mean(const Call& c) {
  using Options = ops::OuterProductMeanOptions;
  const std::string name = c.s.text("normalize");
  const auto normalize = name == "none"    ? Options::Normalize::none
                         : name == "after" ? Options::Normalize::divide_after
                                           : Options::Normalize::divide_before;
  return {ops::outer_product_mean(c[0], c[1], c[2], c[3], c[4], {.normalize = normalize, .eps = 1e-3})};
}

bool make_outer_product_mean(Generator& g) {
  const auto small = [](const Shape& s) { return s.rank() == 4 && s[3] <= 6 && s[2] <= 8 && numel(s) > 0; };
  std::string a = g.chance(0.4) ? g.pick({.least_rank = 4, .most = 4, .fits = small}) : "";
  if (a.empty()) a = g.leaf({g.between(1, 2), g.between(1, 5), g.between(1, 5), g.between(1, 5)});
  const Shape shape = g.shape_of(a);
  const int64_t c = shape[3], out = g.between(1, 6);
  const bool dense = g.dense_parameters();
  Statement s{.word = "outer_product_mean", .ins = {a, g.same_shape(a)}};
  s.ins.push_back(g.leaf({out, c * c}, {.scale = 0.25, .dense = dense}));
  s.ins.push_back(g.maybe_leaf({out}, {.dense = dense}));
  s.ins.push_back(
      g.chance(0.5) ? g.leaf({shape[0], shape[1], shape[2]}, {.kind = "mask", .dense = dense, .constant = true})
                    : "_");
  return g.add(std::move(s.set("normalize", g.one_of<std::string>({"none", "after", "before"}))), 300);
}

TensorList call_triangle_multiply(const Call& c) {
  const ops::TriangleMultiplyWeights w{c[2],  c[3],  c[4],  c[5],  c[6],  c[7],  c[8],  c[9],
                                       c[10], c[11], c[12], c[13], c[14], c[15], c[16], c[17]};
  return {ops::triangle_multiply(c[0], c[1], w, c.s.integer("outgoing") != 0, eps_of(c))};
}

bool make_triangle_multiply(Generator& g) {
  const auto square = [](const Shape& s) {
    return s.rank() == 4 && s[1] == s[2] && s[3] > 2 && s[1] <= 6 && numel(s) > 0;
  };
  std::string z = g.chance(0.4) ? g.pick({.least_rank = 4, .fits = square}) : "";
  const int64_t r = g.between(1, 5);
  if (z.empty()) z = g.leaf({g.between(1, 2), r, r, g.between(3, 6)});
  const Shape shape = g.shape_of(z);
  const int64_t cz = shape[3], c = g.between(3, 5), out = g.between(1, 5);
  const bool dense = g.dense_parameters();
  const LeafOptions norm{.kind = "positive", .dense = dense}, weight{.scale = 0.5, .dense = dense},
      bias{.dense = dense};
  Statement s{.word = "triangle_multiply", .ins = {z}};
  s.ins.push_back(g.chance(0.5) ? g.leaf(shape.slice(0, 3), {.kind = "mask", .dense = dense, .constant = true})
                                : "_");
  s.ins.push_back(g.leaf({cz}, norm));
  s.ins.push_back(g.leaf({cz}, bias));
  const auto linear = [&](int64_t to, int64_t from) {
    s.ins.push_back(g.leaf({to, from}, weight));
    s.ins.push_back(g.maybe_leaf({to}, bias));
  };
  for (int i = 0; i < 4; ++i) linear(c, cz);
  s.ins.push_back(g.leaf({c}, norm));
  s.ins.push_back(g.leaf({c}, bias));
  linear(out, c);
  linear(out, cz);
  return g.add(std::move(s.set("outgoing", g.between(0, 1))), 32);
}

TensorList call_conv2d(const Call& c) {
  return {ops::conv2d(c[0], c[1], c[2], c.s.dims("stride"), c.s.dims("padding"), c.s.dims("dilation"),
                      c.s.integer("groups", 1))};
}

bool make_conv2d(Generator& g) {
  const int64_t groups = g.between(1, 3), in = groups * g.between(1, 2), out = groups * g.between(1, 2);
  const Dims kernel{g.between(1, 3), g.between(1, 3)}, dilation{g.between(1, 2), g.between(1, 2)};
  const Dims padding{g.between(0, 2), g.between(0, 2)}, stride{g.between(1, 3), g.between(1, 3)};
  Dims image;
  for (int i = 0; i < 2; ++i)
    image.push_back(std::max<int64_t>(1, dilation[i] * (kernel[i] - 1) + 1 - 2 * padding[i]) + g.between(0, 4));
  const bool dense = g.dense_parameters();
  Statement s{.word = "conv2d", .ins = {g.leaf({g.between(1, 2), in, image[0], image[1]}, {.dense = dense})}};
  s.ins.push_back(g.leaf({out, in / groups, kernel[0], kernel[1]}, {.scale = 0.5, .dense = dense}));
  s.ins.push_back(g.maybe_leaf({out}, {.dense = dense}));
  s.set("stride", stride).set("padding", padding).set("dilation", dilation).set("groups", groups);
  return g.add(std::move(s), 64);
}

// Letters of one or two operands; some are repeated, some are summed.
bool make_einsum(Generator& g) {
  const std::string letters = "abcde";
  std::map<char, int64_t> extents;
  for (char l : letters) extents[l] = g.between(1, 4);
  std::string left, right, out;
  for (char l : letters) {
    if (left.size() < 4 && g.chance(0.5)) left.insert(g.below(left.size() + 1), 1, l);
    if (right.size() < 4 && g.chance(0.5)) right.insert(g.below(right.size() + 1), 1, l);
  }
  if (left.empty()) return false;
  if (left.size() < 4 && g.chance(0.2)) left.insert(g.below(left.size() + 1), 1, left[0]);
  const bool two = g.chance(0.75) && !right.empty();
  for (char l : letters) {
    const bool there = left.find(l) != std::string::npos || (two && right.find(l) != std::string::npos);
    if (there && g.chance(0.6)) out.insert(g.below(out.size() + 1), 1, l);
  }
  const auto operand = [&](const std::string& labels) {
    Shape shape;
    for (char l : labels) shape.push_back(extents[l]);
    return g.leaf(shape);
  };
  Statement s{.word = "einsum", .ins = {operand(left)}};
  if (two) s.ins.push_back(right == left && g.chance(0.5) ? s.ins[0] : operand(right));
  s.set("equation", left + (two ? "," + right : "") + "->" + out);
  return g.add(std::move(s), 300);
}

}  // namespace

std::vector<Operation> block_operations() {
  return {
      {"attention", call_attention, make_attention, nullptr, false, 3},
      {"norm_linear", call_norm_linear, make_norm_linear, nullptr, false, 3},
      {"relu_transition",
       [](const Call& c) {
         return TensorList{ops::relu_transition(c[0], c[1], c[2], c[3], c[4], c[5], c[6], eps_of(c))};
       },
       make_relu_transition},
      {"swiglu_transition",
       [](const Call& c) {
         return TensorList{ops::swiglu_transition(c[0], c[1], c[2], c[3], c[4], c[5], eps_of(c))};
       },
       make_swiglu_transition},
      {"outer_product_mean", call_outer_product_mean, make_outer_product_mean},
      {"triangle_multiply", call_triangle_multiply, make_triangle_multiply},
      {"conv2d", call_conv2d, make_conv2d},
      {"einsum",
       [](const Call& c) {
         const std::string equation = c.s.text("equation");
         return TensorList{c.in.size() == 1 ? ops::einsum(equation, {c[0]})
                                            : ops::einsum(equation, {c[0], c[1]})};
       },
       make_einsum, nullptr, false, 3},
  };
}

}  // namespace reckon::differential
