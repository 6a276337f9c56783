// Which tensor of which op has this size: looks through every allocation of a recorded dry run, as one does
// with the number in an out-of-memory message. Called by `reckon explain oom`.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "calculators/dry_run.h"
#include "calculators/quantity.h"

namespace reckon::calculators {

// Allocations that differ in nothing but their number and the index of a repeated block.
struct FoundTensor {
  std::string op, module, label;     // module with `*` for block numbers
  std::optional<MadeTensor> tensor;  // none: a workspace
  Phase phase{};                     // first seen in
  Category category{};               // at birth
  bool saved = false;                // backward holds it later
  int64_t bytes = 0, count = 0, first_event = 0;
  int64_t multiple = 1;  // of how many such tensors the size asked for would be
};

struct TensorSearch {
  WrittenBytes wanted;
  std::string description;
  double tolerance = 0;                // relative, beside the precision of the text
  std::vector<FoundTensor> found;      // of that size; closest, then largest count first
  std::vector<FoundTensor> multiples;  // when nothing was found: whole multiples of these would be it
  int64_t largest_bytes = 0;           // of the whole run
  int64_t n_allocations = 0;
};

TensorSearch search_tensors(const Recording& run, const WrittenBytes& wanted, double tolerance = 0);

// One forward and backward pass through an extra-MSA stack of four blocks on zeros.
struct ExtraMsaQuestion {
  int64_t batch = 1, rows = 1024, residues = 256;
  DType dtype = DType::f32;
  autograd::CheckpointPolicy checkpoint = autograd::CheckpointPolicy::none;
  autograd::FusionSet fuse;
};
Recording record_extra_msa(const ExtraMsaQuestion& question, const DeviceSpec& spec);

// "[1, 1024, 8, 384, 384] = batch 1 x rows 1024 x ...": what is equal to a size
// that was asked for gets its name.
std::string named_shape(const Shape& shape, const std::vector<std::pair<std::string, int64_t>>& names);

void write_tensor_search(std::ostream& out, const TensorSearch& s,
                         const std::vector<std::pair<std::string, int64_t>>& names, int top);
nlohmann::ordered_json tensor_search_json(const TensorSearch& s);

}  // namespace reckon::calculators
