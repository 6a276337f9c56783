#include "autograd/fusion.h"

#include <algorithm>
#include <iterator>

#include "runtime/core/error.h"

namespace reckon::autograd {
namespace {

// In the order of Fusion.
constexpr std::string_view kNames[] = {"attention", "norm-linear",   "transition", "outer-product",
                                       "triangle",  "cross-entropy", "adamw",      "dropout-add"};
constexpr uint32_t kFusions = std::size(kNames);
static_assert(kFusions == static_cast<uint32_t>(Fusion::n_fusions), "every fusion has a name");

}  // namespace

FusionSet FusionSet::all() {
  FusionSet s;
  s.bits_ = (1u << kFusions) - 1u;
  return s;
}

std::string FusionSet::names() {
  std::string text;
  for (std::string_view name : kNames) text += (text.empty() ? "" : ",") + std::string(name);
  return text;
}

FusionSet FusionSet::parse(std::string_view text) {
  if (text == "none") return none();
  if (text == "all") return all();
  FusionSet s;
  while (true) {
    const size_t comma = text.find(',');
    const std::string_view word = text.substr(0, comma);
    const auto* const known = std::find(std::begin(kNames), std::end(kNames), word);
    RECKON_CHECK(known != std::end(kNames), "unknown fusion '{}': expected none, all, or a list of {}", word,
                 names());
    s.bits_ |= 1u << (known - kNames);
    if (comma == std::string_view::npos) return s;
    text.remove_prefix(comma + 1);
  }
}

std::string FusionSet::to_string() const {
  if (bits_ == 0) return "none";
  if (*this == all()) return "all";
  std::string text;
  for (uint32_t f = 0; f < kFusions; ++f)
    if (has(static_cast<Fusion>(f))) text += (text.empty() ? "" : ",") + std::string(kNames[f]);
  return text;
}

FusionSet& fusion_state() {
  thread_local FusionSet state;
  return state;
}

bool fuses(Fusion f) { return fusion_state().has(f); }

}  // namespace reckon::autograd
