#include "models/nn/parameters.h"

#include <cmath>

#include "autograd/node.h"
#include "runtime/core/rng.h"
#include "runtime/events/scope.h"

namespace reckon::models {

void ParameterSet::add(std::string name, Tensor t) {
  RECKON_CHECK(!find(name), "two parameters are called '{}'", name);
  entries_.push_back({std::move(name), std::move(t)});
}

const Tensor* ParameterSet::find(std::string_view name) const {
  for (const NamedParameter& p : entries_)
    if (p.name == name) return &p.tensor;
  return nullptr;
}

int64_t ParameterSet::n_elements() const {
  int64_t n = 0;
  for (const NamedParameter& p : entries_) n += p.tensor.numel();
  return n;
}

namespace {

// A normal cut at two standard deviations has 0.87962566 of its standard deviation; this gives it back.
constexpr double kTruncation = 0.87962566103423978;

}  // namespace

Init Init::lecun(int64_t fan_in) {
  return {Kind::truncated_normal, std::sqrt(1.0 / static_cast<double>(fan_in)) / kTruncation};
}

Init Init::he(int64_t fan_in) {
  return {Kind::truncated_normal, std::sqrt(2.0 / static_cast<double>(fan_in)) / kTruncation};
}

Init Init::glorot(int64_t fan_in, int64_t fan_out) {
  return {Kind::uniform, std::sqrt(6.0 / static_cast<double>(fan_in + fan_out))};
}

Tensor Builder::parameter(std::string_view name, const Shape& shape, Init init, bool of_product) {
  PhaseScope phase(Phase::init);
  context().op = intern("parameter");
  const NameId path = join_path(context().module, intern(name));
  Tensor t = Tensor::empty(device_, shape, dtype_, Category::parameter, name);
  const uint64_t stream = stream_of(StreamUse::parameters, set_.all().size());
  switch (init.kind) {
    case Init::Kind::constant:
      ops::fill(t, init.value);
      break;
    case Init::Kind::uniform:
      ops::fill_random(t, ops::Distribution::uniform, 0, init.value, seed_, stream);
      break;
    case Init::Kind::normal:
      ops::fill_random(t, ops::Distribution::normal, 0, init.value, seed_, stream);
      break;
    case Init::Kind::truncated_normal:
      ops::fill_random(t, ops::Distribution::truncated_normal, 0, init.value, seed_, stream);
      break;
  }
  autograd::set_requires_grad(t);
  set_.add(std::string(name_of(path)), t);
  if (of_product)
    for (std::vector<Tensor>* list : noting_) list->push_back(t);
  return t;
}

}  // namespace reckon::models
