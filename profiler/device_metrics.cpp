#include "profiler/device_metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_set>

namespace reckon::profiler::cupti {
namespace {

struct Part {
  std::string_view name;
  double weight;
};

// One way to get a quantity: all parts must exist, their weighted sum is the value.
struct Way {
  Quantity quantity;
  std::vector<Part> parts;
  bool joint = false;
};

constexpr std::string_view kJointTensor = "sm__ops_path_tensor_src_fp16_bf16_tf32_dst_fp32";

// Instructions of the ordinary arithmetic units. A multiply-add is two operations. Half-precision
// instructions are counted as packed pairs, which is what compilers make of them where it matters; ffma2
// and its like are pairs of f32.
constexpr Part kScalar[] = {
    {"smsp__sass_thread_inst_executed_op_fadd_pred_on", 1},
    {"smsp__sass_thread_inst_executed_op_fmul_pred_on", 1},
    {"smsp__sass_thread_inst_executed_op_ffma_pred_on", 2},
    {"smsp__sass_thread_inst_executed_op_hadd_pred_on", 2},
    {"smsp__sass_thread_inst_executed_op_hmul_pred_on", 2},
    {"smsp__sass_thread_inst_executed_op_hfma_pred_on", 4},
    {"smsp__sass_thread_inst_executed_op_fadd2_pred_on", 2},
    {"smsp__sass_thread_inst_executed_op_fmul2_pred_on", 2},
    {"smsp__sass_thread_inst_executed_op_ffma2_pred_on", 4},
};

// In the order of preference.
const std::vector<Way>& ways() {
  static const std::vector<Way> all{
      // The tensor path counts a multiply-add as two operations itself.
      {Quantity::tensor_bf16, {{"sm__ops_path_tensor_src_bf16_dst_fp32", 1}}},
      {Quantity::tensor_bf16, {{kJointTensor, 1}}, true},
      {Quantity::tensor_f16, {{"sm__ops_path_tensor_src_fp16", 1}}},
      {Quantity::tensor_f16,
       {{"sm__ops_path_tensor_src_fp16_dst_fp16", 1}, {"sm__ops_path_tensor_src_fp16_dst_fp32", 1}}},
      {Quantity::tensor_f16, {{"sm__ops_path_tensor_src_fp16_dst_fp16", 1}, {kJointTensor, 1}}, true},
      {Quantity::tensor_tf32, {{"sm__ops_path_tensor_src_tf32_dst_fp32", 1}}},
      {Quantity::tensor_tf32, {{kJointTensor, 1}}, true},
      {Quantity::special, {{"sm__inst_executed_pipe_xu", 32}}},
      {Quantity::dram_read, {{"dram__bytes_read", 1}}},
      {Quantity::dram_read, {{"dram__bytes_op_read", 1}}},
      {Quantity::dram_written, {{"dram__bytes_write", 1}}},
      {Quantity::dram_written, {{"dram__bytes_op_write", 1}}},
      {Quantity::l2_bytes, {{"lts__t_bytes", 1}}},
      {Quantity::time, {{"gpu__time_duration", 1}}},
  };
  return all;
}

constexpr std::string_view kSum = ".sum";

// Quantities with a place of their own in the books.
std::optional<int64_t>& place(CountedWork& w, Quantity q) {
  switch (q) {
    case Quantity::tensor_bf16:
      return w.tensor_bf16;
    case Quantity::tensor_f16:
      return w.tensor_f16;
    case Quantity::tensor_tf32:
      return w.tensor_tf32;
    case Quantity::scalar:
      return w.scalar;
    case Quantity::special:
      return w.special;
    case Quantity::dram_read:
      return w.dram_read;
    case Quantity::dram_written:
      return w.dram_written;
    case Quantity::l2_bytes:
      return w.l2_bytes;
    case Quantity::time:
      break;
  }
  return w.time_ns;
}

}  // namespace

std::string_view name_of(Quantity q) {
  constexpr std::array<std::string_view, kQuantities> names{"bf16 tensor operations",
                                                            "f16 tensor operations",
                                                            "tf32 tensor operations",
                                                            "scalar FLOPs",
                                                            "special functions",
                                                            "DRAM bytes read",
                                                            "DRAM bytes written",
                                                            "L2 bytes",
                                                            "time"};
  return names[static_cast<size_t>(q)];
}

std::vector<std::string> MetricChoice::names() const {
  std::vector<std::string> out;
  for (const Metric& m : metrics) out.push_back(m.name + std::string(kSum));
  return out;
}

MetricChoice choose_metrics(std::span<const std::string> available, std::string_view dtype) {
  const std::unordered_set<std::string_view> known(available.begin(), available.end());
  MetricChoice choice;
  const auto choose = [&](Quantity q) {
    for (const Way& way : ways()) {
      if (way.quantity != q ||
          !std::ranges::all_of(way.parts, [&](const Part& p) { return known.contains(p.name); }))
        continue;
      for (const Part& p : way.parts) choice.metrics.push_back({q, std::string(p.name), p.weight});
      choice.joint_tensor_types |= way.joint;
      return;
    }
    choice.missing.push_back(q);
  };
  choose(dtype == "f16"   ? Quantity::tensor_f16
         : dtype == "f32" ? Quantity::tensor_tf32
                          : Quantity::tensor_bf16);
  for (Quantity q :
       {Quantity::dram_read, Quantity::dram_written, Quantity::l2_bytes, Quantity::time, Quantity::special})
    choose(q);
  // The first six are on every chip that has any; packed f32 instructions came later.
  const bool scalar = std::all_of(std::begin(kScalar), std::begin(kScalar) + 6,
                                  [&](const Part& p) { return known.contains(p.name); });
  if (!scalar) choice.missing.push_back(Quantity::scalar);
  for (const Part& p : kScalar)
    if (scalar && known.contains(p.name))
      choice.metrics.push_back({Quantity::scalar, std::string(p.name), p.weight});
  return choice;
}

MetricChoice choice_of_names(std::span<const std::string> names) {
  MetricChoice choice;
  for (const std::string& full : names) {
    const std::string_view name =
        std::string_view(full).substr(0, full.ends_with(kSum) ? full.size() - kSum.size() : full.size());
    Metric found{Quantity::time, std::string(name), 0};  // weight 0: nothing is known of it
    for (const Part& p : kScalar)
      if (p.name == name) found = {Quantity::scalar, std::string(name), p.weight};
    for (const Way& way : ways())
      for (const Part& p : way.parts)
        if (p.name == name && found.weight == 0) found = {way.quantity, std::string(name), p.weight};
    choice.joint_tensor_types |= name == kJointTensor;
    choice.metrics.push_back(std::move(found));
  }
  return choice;
}

void add_values(const MetricChoice& choice, std::span<const double> values, CountedWork& work) {
  for (size_t i = 0; i < std::min(choice.metrics.size(), values.size()); ++i) {
    const Metric& m = choice.metrics[i];
    if (m.weight == 0 || !std::isfinite(values[i])) continue;
    std::optional<int64_t>& to = place(work, m.quantity);
    to = to.value_or(0) + std::llround(values[i] * m.weight);
  }
}

}  // namespace reckon::profiler::cupti
