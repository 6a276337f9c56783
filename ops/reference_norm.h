// The norms that fused ops read their input through, for the independent references of those ops: normalised
// rows, their weight and bias, and the gradients of all three. Tests only.
#pragma once

#include "ops/kernel/plan/norm_kind.h"
#include "ops/reference.h"
#include "ops/rules.h"

namespace reckon::ops {

// A tensor from a matrix whose rows are all axes but the last, or from a row.
inline HostTensor host_tensor(const Shape& shape, const RowMajor& m) {
  return {shape, std::vector<double>(m.data(), m.data() + m.size())};
}
inline Shape without_last(const Shape& s) { return s.slice(0, s.rank() - 1); }

// Of the gradients of all inputs those that a backward op is asked for.
inline HostTensors only_wanted(uint32_t needs, const HostTensors& gradients) {
  HostTensors wanted;
  for (size_t i = 0; i < gradients.size(); ++i)
    if (needs >> i & 1u) wanted.push_back(gradients[i]);
  return wanted;
}

// layer: x_hat = (x - mean) rstd, rstd = 1 / sqrt(variance + eps). rms: x_hat = x rstd, rstd = 1 / sqrt(mean of
// squares + eps), mean = 0. rows = x_hat weight + bias, where they are given.
struct ReferenceNorm {
  NormKind kind;
  Eigen::VectorXd mean, rstd;
  RowMajor x_hat, rows;
  RowMajor weight;  // [1, c]

  // The statistics of the rows of x.
  ReferenceNorm(NormKind k, const RowMajor& x, const HostTensor& w, const HostTensor& b, double eps)
      : ReferenceNorm(k, x, w, b, k == NormKind::layer ? mean_of_rows(x) : Eigen::VectorXd::Zero(x.rows()),
                      eps) {}
  // Statistics that are given.
  ReferenceNorm(NormKind k, const RowMajor& x, const HostTensor& w, const HostTensor& b,
                const Eigen::VectorXd& m, const Eigen::VectorXd& r)
      : kind(k), mean(m), rstd(r), x_hat(r.asDiagonal() * (x.colwise() - m)), rows(x_hat), weight(w.rows()) {
    rows = (rows.array().rowwise() * weight.row(0).array()).matrix();
    if (b.defined) rows.rowwise() += b.rows().row(0);
  }

  // From the gradient of `rows`.
  RowMajor dbias(const RowMajor& d) const { return d.colwise().sum(); }
  RowMajor dweight(const RowMajor& d) const { return d.cwiseProduct(x_hat).colwise().sum(); }
  // With g = d weight: dx = rstd (g - mean(g) - x_hat mean(g x_hat)); rms has no mean to take off.
  RowMajor dx(const RowMajor& d) const {
    RowMajor g = (d.array().rowwise() * weight.row(0).array()).matrix();
    const Eigen::VectorXd along = g.cwiseProduct(x_hat).rowwise().mean();
    if (kind == NormKind::layer) g.colwise() -= mean_of_rows(g);
    return rstd.asDiagonal() * (g - along.asDiagonal() * x_hat);
  }

 private:
  static Eigen::VectorXd mean_of_rows(const RowMajor& m) { return m.rowwise().mean(); }
  ReferenceNorm(NormKind k, const RowMajor& x, const HostTensor& w, const HostTensor& b,
                const Eigen::VectorXd& m, double eps)
      : ReferenceNorm(k, x, w, b, m,
                      ((x.colwise() - m).array().square().rowwise().mean() + eps).rsqrt().matrix()) {}
};

inline Eigen::VectorXd statistic(const HostTensor& t) { return t.flat().matrix(); }

}  // namespace reckon::ops
