// What training tasks share on the way from a file to the input tensors of a batch.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "models/data/alignment.h"
#include "runtime/tensor.h"

namespace reckon::models {

template <class T>
Tensor upload(Device& device, const Shape& shape, DType t, const std::vector<T>& host, std::string_view label) {
  return Tensor::from_host(device, shape, t, host.data(), host.size() * sizeof(T), Category::input, label);
}

inline std::shared_ptr<data::Alignment> read_training_alignment(const std::string& file) {
  RECKON_CHECK(
      !file.empty(),
      "training needs an alignment: give --data FILE (a3m, Stockholm, aligned FASTA or one row per line)");
  return std::make_shared<data::Alignment>(data::read_alignment(file));
}

// [batch, n, n]: how far residue i lies behind residue j, clipped to [-reach, reach], plus reach.
// `residue_index` [batch, n].
inline std::vector<int64_t> relative_positions(const std::vector<int64_t>& residue_index, int64_t batch,
                                               int64_t n, int64_t reach) {
  std::vector<int64_t> relative;
  relative.reserve(static_cast<size_t>(batch * n * n));
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t* index = residue_index.data() + b * n;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j)
        relative.push_back(std::clamp(index[i] - index[j], -reach, reach) + reach);
  }
  return relative;
}

}  // namespace reckon::models
