// Rows of a table by index: ids i64 of any shape, table [V, H], result [.., H] in the table's type. An
// id outside [0, V) is an Error that names it; a GPU, which cannot raise one from a kernel, gives a row
// of NaN and no gradient. Keeps only the ids. The table's gradient is dense, in the table's type; the
// order of its additions is the order of the ids, whatever the number of threads (on a GPU: an order
// that depends on the ids alone).
#pragma once

#include "ops/op.h"

namespace reckon::ops {

Tensor embedding(const Tensor& ids, const Tensor& table);

}  // namespace reckon::ops
