#include "autograd/fusion.h"

#include <array>
#include <utility>

#include "runtime/core/error.h"

namespace reckon::autograd {
namespace {

constexpr std::array<std::pair<Fusion, std::string_view>, 8> kNames{{{Fusion::attention, "attention"},
                                                                     {Fusion::norm_linear, "norm-linear"},
                                                                     {Fusion::transition, "transition"},
                                                                     {Fusion::outer_product, "outer-product"},
                                                                     {Fusion::triangle, "triangle"},
                                                                     {Fusion::cross_entropy, "cross-entropy"},
                                                                     {Fusion::adamw, "adamw"},
                                                                     {Fusion::dropout_add, "dropout-add"}}};

}  // namespace

FusionSet FusionSet::all() {
  FusionSet s;
  for (const auto& [f, name] : kNames) s.bits_ |= static_cast<uint32_t>(f);
  return s;
}

std::string FusionSet::names() {
  std::string text;
  for (const auto& [f, name] : kNames) text += (text.empty() ? "" : ",") + std::string(name);
  return text;
}

FusionSet FusionSet::parse(std::string_view text) {
  if (text == "none") return none();
  if (text == "all") return all();
  FusionSet s;
  while (true) {
    const size_t comma = text.find(',');
    const std::string_view word = text.substr(0, comma);
    bool known = false;
    for (const auto& [f, name] : kNames)
      if (word == name) s.bits_ |= static_cast<uint32_t>(f), known = true;
    RECKON_CHECK(known, "unknown fusion '{}': expected none, all, or a list of {}", word, names());
    if (comma == std::string_view::npos) return s;
    text.remove_prefix(comma + 1);
  }
}

std::string FusionSet::to_string() const {
  if (bits_ == 0) return "none";
  if (*this == all()) return "all";
  std::string text;
  for (const auto& [f, name] : kNames)
    if (has(f)) text += (text.empty() ? "" : ",") + std::string(name);
  return text;
}

FusionSet& fusion_state() {
  thread_local FusionSet state;
  return state;
}

bool fuses(Fusion f) { return fusion_state().has(f); }

}  // namespace reckon::autograd
