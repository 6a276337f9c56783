// Parameter names of public code against ours: one table per code base.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace reckon::models {

// A run of whole path components ("proj_z.0") and what it is called here; empty: left out. With `at_start` only
// as the beginning of the path.
struct NameRule {
  std::string_view theirs, ours;
  bool at_start = false;
};

// Our name of `theirs`: every rule applied once, in order.
std::string our_name(std::string_view theirs, std::span<const NameRule> rules);

std::span<const NameRule> openfold_names();
std::span<const NameRule> protenix_names();
std::span<const NameRule> boltz_names();
std::span<const NameRule> bioformer_names();

}  // namespace reckon::models
