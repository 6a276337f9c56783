// A module or block of public code rebuilt here from a golden file: its parameters under our names, its inputs,
// and what it gives. The table in evoformer_classes.cpp says how each public class is built.
#pragma once

#include <functional>
#include <map>

#include "models/block_names.h"
#include "models/nn/parameters.h"
#include "parity/cases.h"

namespace reckon::parity {

class ModuleRun {
 public:
  ModuleRun(Case& file, std::span<const models::NameRule> names);

  Case& file;
  Json config, call;
  DType storage;  // of parameters and inputs: f32 under bf16, whose products autocast makes
  models::ParameterSet parameters;

  models::Builder builder() { return models::Builder(file.device(), storage, 1, parameters); }
  int64_t size(const char* key) const;  // an integer of the config; Error when missing
  double real(const char* key, double fallback) const;
  bool flag(const char* key) const { return config.value(key, false); }
  void require(const char* key, const Json& value) const;  // Error unless the config says so, or says nothing

  Tensor in(const std::string& name);    // collects a gradient
  Tensor mask(const std::string& name);  // undefined when absent
  Tensor constant(const std::string& tensor) { return file.upload(tensor, storage); }

  // Fills the parameters from the file's, once the module is built. Error when one has no partner.
  void load_parameters();
  const std::map<std::string, std::string>& their_names() const { return theirs_; }
  const std::map<std::string, Tensor>& inputs() const { return inputs_; }

 private:
  std::span<const models::NameRule> names_;
  std::map<std::string, std::string> theirs_;  // by our name
  std::map<std::string, Tensor> inputs_;
};

using Outputs = std::map<std::string, Tensor>;

struct PublicClass {
  const char* repo;
  const char* cls;
  std::span<const models::NameRule> (*names)();
  // Builds the module, and returns what runs it; the closure keeps it alive.
  std::function<Outputs()> (*build)(ModuleRun&);
};

std::span<const PublicClass> public_classes();

}  // namespace reckon::parity
