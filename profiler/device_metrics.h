// Which hardware metrics give FLOPs and bytes on which chip, and what their values mean. Pure: names in, names
// out. Names differ between chips, so they are chosen from the list the chip's own tables give.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "profiler/device_books.h"

namespace reckon::profiler::cupti {

enum class Quantity : uint8_t {
  tensor_bf16,
  tensor_f16,
  tensor_tf32,
  scalar,
  special,
  dram_read,
  dram_written,
  l2_bytes,
  time
};
inline constexpr int kQuantities = 9;
std::string_view name_of(Quantity q);

struct Metric {
  Quantity quantity{};
  std::string name;   // without ".sum"
  double weight = 1;  // operations per count
};

struct MetricChoice {
  std::vector<Metric> metrics;
  std::vector<Quantity> missing;    // this chip cannot tell
  bool joint_tensor_types = false;  // one counter for bf16, f16 and tf32

  std::vector<std::string> names() const;  // as CUPTI wants them, sums over the chip
};

// `available`: the base metrics of the chip. `dtype` ("bf16", "f16", "f32") decides which
// tensor-core operations are counted, since each type takes a pass of its own: for f32 those on
// tf32, of which there must be none.
MetricChoice choose_metrics(std::span<const std::string> available, std::string_view dtype);

// The choice that these names stand for (see MetricChoice::names).
MetricChoice choice_of_names(std::span<const std::string> names);

// Adds the values of one range, in the order of the choice.
void add_values(const MetricChoice& choice, std::span<const double> values, CountedWork& work);

// Ranges by op, module and phase; their names are "NUMBER/module/op/phase" (see range_name; the
// number makes each one unique).
CounterBooks file_ranges(std::span<const std::string> metric_names, std::span<const RangeValues> ranges);

}  // namespace reckon::profiler::cupti
