// Where a program's numbers come from: draws that are the same on every machine and that every float type holds
// exactly, so that all runs of a program begin with the same values.
#pragma once

#include <string>
#include <vector>

#include "ops/reference.h"
#include "tests/differential/program.h"

namespace reckon::differential {

// `recipe` is KIND:STREAM[:LIMIT[:IGNORED]], or numbers "1,-0.5,inf". Kinds:
//   signed     odd multiples of 1/32 in (-2, 2): no zero, so that no value lies on a kink
//   positive   odd multiples of 1/32 in (1/2, 3/2)
//   mask       0 or 1, three ones in four; with a LIMIT every LIMIT-th is 1, so that no row of that length is all 0
//   index      whole numbers in [0, LIMIT)
//   target     the same, one in five is IGNORED
// All are multiplied by `scale`, a power of two.
std::vector<double> drawn(const std::string& recipe, double scale, size_t n);

// Elements of any tensor that has data, in row-major order, by way of its storage: no op, no event.
ops::HostTensor read(const Tensor& t);
// The same way back, into the elements that the layout names.
void write(const Tensor& t, const std::vector<double>& values);

}  // namespace reckon::differential
