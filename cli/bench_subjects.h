// What `reckon bench ops` runs: training steps of real blocks at model sizes, and, for ops they do not reach,
// declared cases grown until there is work in them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ops/op.h"

namespace reckon::cli {

struct BenchSubject {
  std::string name;           // "qwen 0.5B layer, fused"
  std::function<void()> run;  // once through; op calls tell the device's sinks
};

// One block of each family, forward, backward and (qwen) optimizer, plain and fused, in
// f32 or bf16. `small`: tiny sizes.
std::vector<BenchSubject> model_subjects(Device& device, DType dtype, bool small);

// The op's heaviest declared case with every extent multiplied while its plan accepts that and it stays below
// `most_bytes`; nothing when the op declares no case.
std::vector<BenchSubject> grown_case(Device& device, const ops::OpDef& op, DType dtype, int64_t most_bytes);

}  // namespace reckon::cli
