// Named parameters of a model, in the order they were built. Tensors are handles, so a
// module and this set share them.
#pragma once

#include <string>
#include <vector>

#include "ops/fill/fill.h"
#include "runtime/tensor.h"

namespace reckon::models {

struct NamedParameter {
  std::string name;  // module path and own name: "layers.0.self_attn.q_proj.weight"
  Tensor tensor;
  bool of_product = false;  // weight or bias of a linear layer
};

class ParameterSet {
 public:
  void add(std::string name, Tensor t, bool of_product = false);
  const std::vector<NamedParameter>& all() const { return entries_; }
  const Tensor* find(std::string_view name) const;
  int64_t n_elements() const;

 private:
  std::vector<NamedParameter> entries_;
};

// How a parameter starts.
struct Init {
  enum class Kind : uint8_t { constant, uniform, normal, truncated_normal } kind = Kind::constant;
  double value = 0;  // the constant, the half width, or the standard deviation

  static Init constant(double v) { return {Kind::constant, v}; }
  static Init normal(double stddev) { return {Kind::normal, stddev}; }
  // AlphaFold 2's initialisers (supplement 1.11.4): truncated normal of variance
  // scale / fan_in, and uniform Glorot.
  static Init lecun(int64_t fan_in);
  static Init he(int64_t fan_in);
  static Init glorot(int64_t fan_in, int64_t fan_out);
};

// Creates parameters on a device under the current module path. Every parameter draws
// from a random stream of its own.
class Builder {
 public:
  Builder(Device& device, DType dtype, uint64_t seed, ParameterSet& set)
      : device_(device), dtype_(dtype), seed_(seed), set_(set) {}
  Tensor parameter(std::string_view name, const Shape& shape, Init init, bool of_product = false);
  // How many there are so far, and the weights and biases of the linear layers made since there were `first`:
  // what a block hands to autograd::WeightCasts.
  size_t count() const { return set_.all().size(); }
  std::vector<Tensor> product_weights(size_t first) const;
  Device& device() const { return device_; }

 private:
  Device& device_;
  DType dtype_;
  uint64_t seed_;
  ParameterSet& set_;
};

}  // namespace reckon::models
