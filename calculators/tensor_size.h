// What a tensor of a given shape costs: exact bytes, which axis drives them, where such a shape comes from,
// which devices hold it, and what would make it smaller. Called by `reckon explain tensor`.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/dtype.h"
#include "runtime/core/exact.h"

namespace reckon::calculators {

struct TensorText {
  std::vector<int64_t> shape;
  DType dtype = DType::f32;
};
// "32x501x501x128x128 f32", "[32, 501] bf16"; without a type, `fallback`. Error on
// extents below 1 and unknown types.
TensorText parse_tensor(std::string_view text, DType fallback);

struct AxisGrowth {
  std::vector<size_t> axes;  // those of one extent: they tend to grow together
  int64_t extent = 0;
  Exact bytes_if_doubled;  // all of them doubled
};

struct SmallerForm {
  std::string how;
  Exact bytes;  // of the largest piece that remains
};

struct TensorSize {
  TensorText tensor;
  Exact elements, bytes;
  // Of an allocation on meta; none beyond 2^62 bytes or 8 axes.
  std::optional<int64_t> dry_run_bytes, dry_run_reserved;
  std::vector<AxisGrowth> growth;
  std::vector<std::string> origins;  // what has such a shape
  std::vector<SmallerForm> smaller;
};
TensorSize explain_tensor(const TensorText& tensor);

void write_tensor_size(std::ostream& out, const TensorSize& t);
nlohmann::ordered_json tensor_size_json(const TensorSize& t);

}  // namespace reckon::calculators
