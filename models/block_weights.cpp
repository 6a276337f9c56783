#include "models/block_weights.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "models/block_names.h"
#include "models/data/safetensors.h"
#include "models/nn/stored.h"
#include "runtime/core/error.h"

namespace reckon::models {
namespace {

struct Code {
  const char* name;
  std::span<const NameRule> rules;
};

std::vector<Code> codes() {
  return {{"OpenFold", openfold_names()}, {"Protenix", protenix_names()}, {"Boltz", boltz_names()}};
}

bool is_number(std::string_view s) {
  return !s.empty() && s.size() <= 6 &&
         std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// "evoformer.blocks.3.rest" -> {"evoformer.blocks", "3", "rest"}, at the first
// "blocks" or "layers" with a number.
struct BlockName {
  std::string prefix, number, rest;
};
std::optional<BlockName> split(const std::string& name) {
  for (size_t begin = 0; begin < name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const std::string_view part = std::string_view(name).substr(begin, end - begin);
    if ((part == "blocks" || part == "layers") && end < name.size()) {
      const size_t next = name.find('.', end + 1);
      const std::string number = name.substr(end + 1, next == std::string::npos ? next : next - end - 1);
      if (next != std::string::npos && is_number(number))
        return BlockName{name.substr(0, end), number, name.substr(next + 1)};
    }
    begin = end + 1;
  }
  return std::nullopt;
}

// Where a parameter's values lie in the file.
struct Source {
  const data::TensorView* view;
  int64_t first;  // element
};

struct Fit {
  std::string code, prefix;
  std::map<std::string, Source> sources;  // by our name
  std::vector<std::string> unknown, missing, wrong;
  int64_t n_tensors = 0;

  bool complete() const { return unknown.empty() && missing.empty() && wrong.empty(); }
  size_t n_problems() const { return unknown.size() + missing.size() + wrong.size(); }
};

// A joint weight [2c, ..] of the a and b projections, where the model has two of c rows.
bool add_halves(const std::string& ours, const data::TensorView& view, const ParameterSet& parameters,
                Fit& fit) {
  const size_t at = ours.find(".linear_ab_");
  if (at == std::string::npos) return false;
  std::string names[2] = {ours, ours};
  names[0].replace(at, 11, ".linear_a_");
  names[1].replace(at, 11, ".linear_b_");
  for (int half = 0; half < 2; ++half) {
    const Tensor* p = parameters.find(names[half]);
    std::vector<int64_t> shape = view.shape;
    if (!p || shape.empty() || shape[0] % 2 != 0) return false;
    shape[0] /= 2;
    if (shape != std::vector<int64_t>(p->shape().begin(), p->shape().end())) return false;
    fit.sources[names[half]] = {&view, half * p->numel()};
  }
  return true;
}

Fit try_fit(const data::SafetensorsFile& file, const std::string& prefix, const Code& code,
            const ParameterSet& parameters) {
  Fit fit{code.name, prefix, {}, {}, {}, {}, 0};
  for (const std::string& name : file.names()) {
    const auto parts = split(name);
    if (!parts || parts->prefix != prefix) continue;
    const std::string ours = "blocks." + parts->number + "." + our_name(parts->rest, code.rules);
    const data::TensorView& view = file.tensor(name);
    const Tensor* p = parameters.find(ours);
    ++fit.n_tensors;
    if (!p) {
      if (!add_halves(ours, view, parameters, fit)) fit.unknown.push_back(name);
    } else if (view.shape != std::vector<int64_t>(p->shape().begin(), p->shape().end())) {
      fit.wrong.push_back(
          fmt::format("{} is [{}], expected {}", name, fmt::join(view.shape, ", "), to_string(p->shape())));
    } else if (!is_weight_type(view.dtype)) {
      fit.wrong.push_back(
          fmt::format("{} is {}, expected F32, BF16, F16 or F64", name, data::name_of(view.dtype)));
    } else if (!fit.sources.emplace(ours, Source{&view, 0}).second) {
      fit.wrong.push_back(fmt::format("{} is a second '{}'", name, ours));
    }
  }
  for (const NamedParameter& p : parameters.all())
    if (p.name.starts_with("blocks.") && !fit.sources.count(p.name)) fit.missing.push_back(p.name);
  return fit;
}

std::string some(const char* what, const std::vector<std::string>& names) {
  constexpr size_t kShown = 3;
  if (names.empty()) return "";
  const std::vector<std::string> first(names.begin(),
                                       names.begin() + static_cast<int64_t>(std::min(kShown, names.size())));
  return fmt::format("; {} {}{}", what, fmt::join(first, ", "),
                     names.size() > kShown ? fmt::format(" and {} more", names.size() - kShown) : "");
}

}  // namespace

LoadedBlocks load_block_weights(const BlockWeightsOptions& o, const ParameterSet& parameters) {
  const data::SafetensorsFile file = data::SafetensorsFile::open(o.file);
  std::set<std::string> prefixes;
  for (const std::string& name : file.names())
    if (const auto parts = split(name)) prefixes.insert(parts->prefix);
  RECKON_CHECK(!prefixes.empty(),
               "'{}' holds no tensor of a block: expected names such as "
               "evoformer.blocks.0.msa_transition.linear_1.weight",
               o.file.string());
  RECKON_CHECK(o.prefix.empty() || prefixes.count(o.prefix), "'{}' has no stack '{}': it has {}",
               o.file.string(), o.prefix, fmt::join(prefixes, ", "));
  std::vector<Fit> fits;
  std::optional<Fit> nearest;
  for (const std::string& prefix : prefixes) {
    if (!o.prefix.empty() && prefix != o.prefix) continue;
    for (const Code& code : codes()) {
      Fit fit = try_fit(file, prefix, code, parameters);
      if (!nearest || fit.n_problems() < nearest->n_problems()) nearest = fit;
      if (!fit.complete()) continue;
      fits.push_back(std::move(fit));
      break;  // names of two codes may agree; then it does not matter whose they are
    }
  }
  RECKON_CHECK(!fits.empty(),
               "no stack of '{}' fits this model; nearest is '{}' read with the names of {}{}{}{} (is the "
               "preset the right size?)",
               o.file.string(), nearest->prefix, nearest->code, some("the file lacks", nearest->missing),
               some("the model has no", nearest->unknown), some("shapes or types differ:", nearest->wrong));
  if (fits.size() > 1) {
    std::vector<std::string> names;
    for (const Fit& f : fits) names.push_back(f.prefix);
    raise_error(fmt::format("'{}' holds several stacks that fit: choose one with --weights-prefix: {}",
                            o.file.string(), fmt::join(names, ", ")));
  }
  const Fit& fit = fits[0];
  for (const NamedParameter& p : parameters.all()) {
    const auto source = fit.sources.find(p.name);
    if (source == fit.sources.end() || !p.tensor.device().executes()) continue;
    fill_parameter(*source->second.view, source->second.first, p.tensor);
  }
  return {fit.code, fit.prefix, fit.n_tensors};
}

}  // namespace reckon::models
