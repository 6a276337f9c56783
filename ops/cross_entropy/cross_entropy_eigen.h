// Cross entropy of given logits and its gradient, for the independent references of the
// ops that end in it. Tests only.
#pragma once

#include "ops/reduction.h"
#include "ops/reference.h"

namespace reckon::ops {

// loss_i = log sum_j exp(x_ij) - x_i,target, of the rows whose target counts.
struct ReferenceLoss {
  Eigen::MatrixXd x;  // [rows, classes]
  Eigen::VectorXd targets;
  Reduction reduction;
  double ignored;

  bool counts(int64_t row) const { return targets[row] != ignored; }
  double counted() const { return reduction == Reduction::mean ? (targets.array() != ignored).count() : 1; }
  double log_sum_exp(int64_t row) const {
    const double top = x.row(row).maxCoeff();
    return top + std::log((x.row(row).array() - top).exp().sum());
  }

  HostTensors loss_and_logsumexp(const Shape& rows) const {
    HostTensor loss(rows), lse(rows);
    for (int64_t i = 0; i < x.rows(); ++i)
      if (counts(i)) {
        lse.values[i] = log_sum_exp(i);
        loss.values[i] = lse.values[i] - x(i, static_cast<int64_t>(targets[i]));
      }
    if (reduction == Reduction::none) return {loss, lse};
    return {HostTensor(Shape{}, {loss.flat().sum() / counted()}), lse};
  }

  // dx_ij = (exp(x_ij - lse_i) - [j is the target]) times the loss's gradient, by
  // the number of rows for the mean.
  RowMajor gradient(const HostTensor& dloss, const HostTensor& lse) const {
    RowMajor dx = RowMajor::Zero(x.rows(), x.cols());
    for (int64_t i = 0; i < x.rows(); ++i) {
      if (!counts(i)) continue;
      dx.row(i) = (x.row(i).array() - lse.values[i]).exp();
      dx(i, static_cast<int64_t>(targets[i])) -= 1;
      dx.row(i) *= dloss.values[reduction == Reduction::none ? i : 0] / counted();
    }
    return dx;
  }
};

}  // namespace reckon::ops
