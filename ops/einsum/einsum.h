// Sums of products written as an equation, for one or two operands: a composition of views, sums, products and
// matrix products, with no kernel of its own, so the books show what it costs. Transposed views go into the
// matrix product as they are; a copy (op `contiguous`) appears only where several axes must merge and their
// strides do not allow it. The result may be a transposed view.
#pragma once

#include <initializer_list>
#include <string_view>

#include "ops/op.h"

namespace reckon::ops {

// One letter per axis: einsum("bhqd,bhkd->bhqk", {q, k}). A label twice in one operand takes its diagonal;
// labels that the right side lacks are summed. "...", once per operand, stands for the axes without a letter:
// einsum("...ij,...jk->...ik", {a, b}). Those of two operands are matched from the last one back, an extent of
// 1 repeats, and a right side without "..." sums them. Without "->" the result has "..." first and then the
// letters that appear once, in alphabetical order. All as torch.einsum has it.
Tensor einsum(std::string_view equation, std::initializer_list<Tensor> operands);

// The same with words, where "->" is required: einsum_named("batch head query dim, batch head key dim ->
// batch head query key", {q, k}).
Tensor einsum_named(std::string_view equation, std::initializer_list<Tensor> operands);

}  // namespace reckon::ops
