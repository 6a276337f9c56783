// The words of a program that compute something: one entry for each public function of ops/, saying how it is called
// and how a random call of it is made up. A new op is added here, in the file of its kind.
#pragma once

#include <span>
#include <vector>

#include "ops/op.h"
#include "tests/differential/program.h"

namespace reckon::differential {

class Generator;

// What a call sees: the statement and its inputs, undefined where it says "_".
struct Call {
  const Statement& s;
  const TensorList& in;
  bool in_f64 = false;  // the run replaces every float type by f64

  const Tensor& operator[](size_t i) const { return in.at(i); }
  // The type that an attribute names, as this run has it.
  DType type(std::string_view key) const {
    const DType t = dtype_from_name(s.text(key));
    return in_f64 && is_compute_type(t) ? DType::f64 : t;
  }
};

struct Operation {
  const char* word;
  TensorList (*call)(const Call&);
  // Appends a statement with this word; false when the program so far has nothing that fits.
  bool (*make)(Generator&);
  // Inputs written in place, without the graph's knowledge; null: none.
  std::vector<size_t> (*writes)(const Statement&) = nullptr;
  bool constant = false;  // what it returns carries no gradient
  int weight = 2;         // how often it is drawn
};

// All of them; the same order on every machine.
std::span<const Operation> operations();
const Operation* find_operation(std::string_view word);  // null when unknown

std::vector<Operation> elementwise_operations();
std::vector<Operation> reduction_operations();
std::vector<Operation> view_operations();
std::vector<Operation> product_operations();
std::vector<Operation> row_operations();
std::vector<Operation> block_operations();
std::vector<Operation> update_operations();

}  // namespace reckon::differential
