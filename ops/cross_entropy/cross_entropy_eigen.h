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

  // The statistics: maxima of the rows, then the logarithms of their sums of exp(x - maximum).
  HostTensors loss_and_statistics(const Shape& rows) const {
    Shape both{2};
    for (int64_t extent : rows) both.push_back(extent);
    HostTensor loss(rows), statistics(both);
    for (int64_t i = 0; i < x.rows(); ++i)
      if (counts(i)) {
        const double top = x.row(i).maxCoeff(), log_sum = std::log((x.row(i).array() - top).exp().sum());
        statistics.values[i] = top;
        statistics.values[x.rows() + i] = log_sum;
        loss.values[i] = top + log_sum - x(i, static_cast<int64_t>(targets[i]));
      }
    if (reduction == Reduction::none) return {loss, statistics};
    return {HostTensor(Shape{}, {loss.flat().sum() / counted()}), statistics};
  }

  // dx_ij = (exp(x_ij - log sum_j exp x_ij) - [j is the target]) times the loss's gradient, by
  // the number of rows for the mean.
  RowMajor gradient(const HostTensor& dloss, const HostTensor& statistics) const {
    RowMajor dx = RowMajor::Zero(x.rows(), x.cols());
    for (int64_t i = 0; i < x.rows(); ++i) {
      if (!counts(i)) continue;
      dx.row(i) = (x.row(i).array() - (statistics.values[i] + statistics.values[x.rows() + i])).exp();
      dx(i, static_cast<int64_t>(targets[i])) -= 1;
      dx.row(i) *= dloss.values[reduction == Reduction::none ? i : 0] / counted();
    }
    return dx;
  }
};

}  // namespace reckon::ops
