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
};

class ParameterSet {
 public:
  void add(std::string name, Tensor t);
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
  // `of_product`: weight or bias of a linear layer, for whoever notes them.
  Tensor parameter(std::string_view name, const Shape& shape, Init init, bool of_product = false);
  Device& device() const { return device_; }

  // While it lives, weights and biases of linear layers are noted in `list` too.
  class Noting {
   public:
    Noting(Builder& b, std::vector<Tensor>& list) : b_(b) { b.noting_.push_back(&list); }
    ~Noting() { b_.noting_.pop_back(); }
    Noting(const Noting&) = delete;
    Noting& operator=(const Noting&) = delete;

   private:
    Builder& b_;
  };

 private:
  Device& device_;
  DType dtype_;
  uint64_t seed_;
  ParameterSet& set_;
  std::vector<std::vector<Tensor>*> noting_;
};

}  // namespace reckon::models
