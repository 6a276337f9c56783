#include "tests/differential/operations.h"

namespace reckon::differential {

std::span<const Operation> operations() {
  static const std::vector<Operation> all = [] {
    std::vector<Operation> list;
    for (const auto& kind : {elementwise_operations(), reduction_operations(), view_operations(),
                             product_operations(), row_operations(), block_operations(), update_operations()})
      list.insert(list.end(), kind.begin(), kind.end());
    return list;
  }();
  return all;
}

const Operation* find_operation(std::string_view word) {
  for (const Operation& op : operations())
    if (word == op.word) return &op;
  return nullptr;
}

}  // namespace reckon::differential
