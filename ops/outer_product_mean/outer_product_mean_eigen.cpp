// out_ij = W (sum over s of a_si b_sj^T, row by row) + bias, divided by the number of rows s in which both i
// and j are there; and the gradients.
#include "ops/outer_product_mean/outer_product_mean_attrs.h"
#include "ops/reference_norm.h"

namespace reckon::ops {
namespace {

// The rows s of residue i: [S, c] of a tensor [B, S, R, c].
RowMajor of_residue(const HostTensor& t, int64_t batch, int64_t i) {
  RowMajor rows(t.size(1), t.size(3));
  for (int64_t s = 0; s < t.size(1); ++s) rows.row(s) = t.matrix(batch * t.size(1) + s).row(i);
  return rows;
}
void add_to_residue(HostTensor& t, int64_t batch, int64_t i, const RowMajor& rows) {
  for (int64_t s = 0; s < t.size(1); ++s) t.matrix(batch * t.size(1) + s).row(i) += rows.row(s);
}

void for_each_pair(const HostTensor& a, auto body) {
  for (int64_t batch = 0; batch < a.size(0); ++batch)
    for (int64_t i = 0; i < a.size(2); ++i)
      for (int64_t j = 0; j < a.size(2); ++j) body(batch, i, j, (batch * a.size(2) + i) * a.size(2) + j);
}

double divisor(const OuterProductMeanAttrs& o, const HostTensor& a, const HostTensor& mask, int64_t batch,
               int64_t i, int64_t j) {
  double count = static_cast<double>(a.size(1));
  if (mask.defined) count = mask.matrix(batch).col(i).dot(mask.matrix(batch).col(j));
  switch (o.normalize) {
    case OuterNormalize::divide_after:
      return o.eps + count;
    case OuterNormalize::divide_before:
      return std::max(count, 1.0);
    case OuterNormalize::none:
      break;
  }
  return 1;
}

HostTensors outer_product_mean(const ReferenceCall& c) {
  using In = OuterProductMeanInput;
  const auto& o = c.as<OuterProductMeanAttrs>();
  const HostTensor &a = c.in[In::a], &b = c.in[In::b], &weight = c.in[In::weight], &bias = c.in[In::bias];
  HostTensor out({a.size(0), a.size(2), a.size(2), weight.size(0)});
  for_each_pair(a, [&](int64_t batch, int64_t i, int64_t j, int64_t pair) {
    const RowMajor outer = of_residue(a, batch, i).transpose() * of_residue(b, batch, j);
    const double n = divisor(o, a, c.in[In::mask], batch, i, j);
    const bool bias_is_divided = o.normalize == OuterNormalize::divide_after;
    Eigen::VectorXd y = weight.rows() * outer.reshaped<Eigen::RowMajor>() / n;
    if (bias.defined) y += bias.flat().matrix() / (bias_is_divided ? n : 1);
    out.rows().row(pair) = y;
  });
  return {out};
}

// With g = dout / n and z the outer product: dW = g z^T, and of dz = W^T g, as a matrix:
// da_i = b_j dz^T, db_j = a_i dz.
HostTensors outer_product_mean_backward(const ReferenceCall& c) {
  using In = OuterProductMeanBackwardInput;
  const auto& o = c.as<OuterProductMeanAttrs>();
  const HostTensor &dout = c.in[In::dout], &a = c.in[In::a], &b = c.in[In::b], &weight = c.in[In::weight];
  HostTensor da(a.shape), db(b.shape), dweight(weight.shape), dbias({weight.size(0)});
  for_each_pair(a, [&](int64_t batch, int64_t i, int64_t j, int64_t pair) {
    const RowMajor a_i = of_residue(a, batch, i), b_j = of_residue(b, batch, j), outer = a_i.transpose() * b_j;
    const Eigen::VectorXd d = dout.rows().row(pair).transpose();
    const Eigen::VectorXd g = d / divisor(o, a, c.in[In::mask], batch, i, j);
    const Eigen::VectorXd flat = weight.rows().transpose() * g;
    const RowMajor dz = flat.reshaped<Eigen::RowMajor>(a.size(3), a.size(3));
    dbias.flat().matrix() += o.normalize == OuterNormalize::divide_after ? g : d;
    dweight.rows() += g * outer.reshaped<Eigen::RowMajor>().transpose();
    add_to_residue(da, batch, i, b_j * dz.transpose());
    add_to_residue(db, batch, j, a_i * dz);
  });
  return only_wanted(o.needs, {da, db, dweight, dbias});
}

}  // namespace

std::vector<OpReference> outer_product_mean_references() {
  const HostTensor a({1, 2, 1, 1}, {2, 3}), b({1, 2, 1, 1}, {5, 7}), weight({1, 1}, {2}), bias({1}, {1});
  const auto attrs = [](OuterNormalize n, uint32_t needs = 0) {
    return std::make_shared<OuterProductMeanAttrs>(OuterProductMeanOptions{n, 1.0}, needs);
  };
  const uint32_t everything = (1u << OuterProductMeanInput::mask) - 1;
  const auto value = [&](const char* name, OuterNormalize n, const HostTensor& mask, double out,
                         const char* source) {
    return OpValues{.name = name,
                    .inputs = {a, b, weight, bias, mask},
                    .attrs = attrs(n),
                    .outputs = {{{1, 1, 1, 1}, {out}}},
                    .source = source};
  };
  return {
      {.op = "outer_product_mean",
       .compute = outer_product_mean,
       .values = {value("divided with the bias", OuterNormalize::divide_after, {}, 21,
                        "z = 2 * 5 + 3 * 7 = 31, (2 z + 1) / (1 + 2)"),
                  value("divided before the bias", OuterNormalize::divide_before, {}, 32, "2 * 31 / 2 + 1"),
                  value("one of two rows counts", OuterNormalize::divide_before, {{1, 2, 1}, {1, 0}}, 63,
                        "2 * 31 / 1 + 1: a and b come masked, the mask only counts"),
                  value("not divided", OuterNormalize::none, {}, 63, "2 * 31 + 1")},
       .golden = {}},
      {.op = "outer_product_mean_backward",
       .compute = outer_product_mean_backward,
       .values = {{.name = "divided with the bias",
                   .inputs = {{{1, 1, 1, 1}, {6}}, a, b, weight, {}},
                   .attrs = attrs(OuterNormalize::divide_after, everything),
                   .outputs = {{{1, 2, 1, 1}, {20, 28}}, {{1, 2, 1, 1}, {8, 12}}, {{1, 1}, {62}}, {{1}, {2}}},
                   .source = "g = 6 / 3, dz = 2 g = 4; da = dz b, db = dz a, dW = g 31, dbias = g"},
                  {.name = "divided before the bias",
                   .inputs = {{{1, 1, 1, 1}, {6}}, a, b, weight, {}},
                   .attrs = attrs(OuterNormalize::divide_before, everything),
                   .outputs = {{{1, 2, 1, 1}, {30, 42}}, {{1, 2, 1, 1}, {12, 18}}, {{1, 1}, {93}}, {{1}, {6}}},
                   .source = "g = 6 / 2, dz = 6, and the bias sees 6"}},
       .golden = {}}};
}

}  // namespace reckon::ops
