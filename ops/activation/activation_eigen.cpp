// Each function and its derivative as written in a textbook; the derivative is a function of x, or of y = f(x)
// where the op keeps its output.
#include <cmath>

#include "ops/reference.h"

namespace reckon::ops {
namespace {

using Eigen::ArrayXd;

const double kPi = std::acos(-1.0);

// NaN is neither side: it stays.
ArrayXd relu(const ArrayXd& x) { return (x < 0).select(0.0, x); }
ArrayXd relu_slope(const ArrayXd& y) { return (y > 0).select(1.0, (y <= 0).select(0.0, y)); }

ArrayXd sigmoid(const ArrayXd& x) { return 1 / (1 + (-x).exp()); }
ArrayXd sigmoid_slope(const ArrayXd& y) { return y * (1 - y); }

ArrayXd tanh(const ArrayXd& x) {
  return x.unaryExpr([](double v) { return std::tanh(v); });
}
ArrayXd tanh_slope(const ArrayXd& y) { return 1 - y.square(); }

ArrayXd exp(const ArrayXd& x) { return x.exp(); }
ArrayXd exp_slope(const ArrayXd& y) { return y; }

ArrayXd log(const ArrayXd& x) { return x.log(); }
ArrayXd log_slope(const ArrayXd& x) { return x.inverse(); }

ArrayXd sqrt(const ArrayXd& x) { return x.sqrt(); }
ArrayXd sqrt_slope(const ArrayXd& y) { return 1 / (2 * y); }

// x s(x) with s' = s (1 - s): s + x s (1 - s)
ArrayXd silu(const ArrayXd& x) { return x * sigmoid(x); }
ArrayXd silu_slope(const ArrayXd& x) { return sigmoid(x) + x * sigmoid_slope(sigmoid(x)); }

// x Phi(x), Phi the normal distribution and its slope the normal density
ArrayXd normal_distribution(const ArrayXd& x) {
  return x.unaryExpr([](double v) { return std::erfc(-v / std::sqrt(2.0)) / 2; });
}
ArrayXd gelu(const ArrayXd& x) { return x * normal_distribution(x); }
ArrayXd gelu_slope(const ArrayXd& x) {
  return normal_distribution(x) + x * (-x.square() / 2).exp() / std::sqrt(2 * kPi);
}

// x / 2 (1 + tanh(u)), u = sqrt(2 / pi) (x + 0.044715 x^3)
ArrayXd u_of(const ArrayXd& x) { return std::sqrt(2 / kPi) * (x + 0.044715 * x.cube()); }
ArrayXd gelu_tanh(const ArrayXd& x) { return x / 2 * (1 + tanh(u_of(x))); }
ArrayXd gelu_tanh_slope(const ArrayXd& x) {
  const ArrayXd t = tanh(u_of(x)), du = std::sqrt(2 / kPi) * (1 + 3 * 0.044715 * x.square());
  return (1 + t) / 2 + x / 2 * tanh_slope(t) * du;
}

ArrayXd abs(const ArrayXd& x) { return x.abs(); }
ArrayXd abs_slope(const ArrayXd& x) { return 2 * (x > 0).cast<double>() - 1; }  // -1 at 0

ArrayXd cos(const ArrayXd& x) { return x.cos(); }
ArrayXd cos_slope(const ArrayXd& x) { return -x.sin(); }

HostTensor with_values(const HostTensor& like, const ArrayXd& values) {
  return {like.shape, std::vector<double>(values.begin(), values.end())};
}

template <auto f>
HostTensors forward(const ReferenceCall& c) {
  return {with_values(c.in[0], f(c.in[0].flat()))};
}

enum BackwardInput : int { kGradient, kKept };

template <auto slope>
HostTensors backward(const ReferenceCall& c) {
  return {with_values(c.in[kKept], c.in[kGradient].flat() * slope(c.in[kKept].flat()))};
}

HostTensor three(double a, double b, double c) { return {{3}, {a, b, c}}; }

}  // namespace

std::vector<OpReference> activation_references() {
  const auto golden = [](const char* op, ReferenceFn f, const char* backward_op, ReferenceFn slope,
                         const char* file) {
    return std::vector<OpReference>{{.op = op, .compute = f, .golden = {file}},
                                    {.op = backward_op, .compute = slope, .golden = {file}}};
  };
  // x gives y; the gradient g with what is kept gives dx.
  const auto closed = [](const char* op, ReferenceFn f, HostTensor x, HostTensor y, const char* backward_op,
                         ReferenceFn slope, HostTensor g, HostTensor kept, HostTensor dx, const char* source) {
    return std::vector<OpReference>{
        {.op = op,
         .compute = f,
         .values = {{.name = "three numbers", .inputs = {x}, .outputs = {y}, .source = source}}},
        {.op = backward_op,
         .compute = slope,
         .values = {{.name = "three numbers", .inputs = {g, kept}, .outputs = {dx}, .source = source}}}};
  };
  const double log2 = std::log(2.0);
  std::vector<OpReference> all;
  for (auto& pair :
       {golden("relu", forward<relu>, "relu_backward", backward<relu_slope>, "ops/relu_a.safetensors"),
        golden("sigmoid", forward<sigmoid>, "sigmoid_backward", backward<sigmoid_slope>,
               "ops/sigmoid_a.safetensors"),
        golden("tanh", forward<tanh>, "tanh_backward", backward<tanh_slope>, "ops/tanh_a.safetensors"),
        closed("exp", forward<exp>, three(0, log2, -2 * log2), three(1, 2, 0.25), "exp_backward",
               backward<exp_slope>, three(1, 3, 8), three(1, 2, 0.25), three(1, 6, 2),
               "exp(log k) = k, and exp is its own derivative"),
        closed("log", forward<log>, three(1, 4, 0.5), three(0, 2 * log2, -log2), "log_backward",
               backward<log_slope>, three(3, 8, 1), three(1, 4, 0.5), three(3, 2, 2),
               "log 4 = 2 log 2; the derivative is 1 / x"),
        closed("sqrt", forward<sqrt>, three(1, 4, 6.25), three(1, 2, 2.5), "sqrt_backward",
               backward<sqrt_slope>, three(1, 8, 10), three(1, 2, 2.5), three(0.5, 2, 2),
               "squares of 1, 2, 2.5; the derivative is 1 / (2 y)"),
        golden("silu", forward<silu>, "silu_backward", backward<silu_slope>, "ops/silu_a.safetensors"),
        golden("gelu", forward<gelu>, "gelu_backward", backward<gelu_slope>, "ops/gelu_erf_a.safetensors"),
        golden("gelu_tanh", forward<gelu_tanh>, "gelu_tanh_backward", backward<gelu_tanh_slope>,
               "ops/gelu_tanh_a.safetensors"),
        closed("abs", forward<abs>, three(-2, 0, 3), three(2, 0, 3), "abs_backward", backward<abs_slope>,
               three(5, 6, 7), three(-2, 0, 3), three(-5, -6, 7), "by hand; the gradient at 0 is that of -x"),
        closed("cos", forward<cos>, three(0, kPi / 3, kPi), three(1, 0.5, -1), "cos_backward",
               backward<cos_slope>, three(3, 2, 5), three(0, kPi / 2, kPi / 6), three(0, -2, -2.5),
               "cos 60 degrees = sin 30 degrees = 1/2; the derivative is -sin")})
    for (const OpReference& r : pair) all.push_back(r);
  return all;
}

}  // namespace reckon::ops
