// What a program computes, as text for another judge (pytorch.py).
#pragma once

#include <string>

#include "tests/differential/program.h"

namespace reckon::differential {

// "run f64" and "run own" (the program's types), each with the numbers of the statements that raised ("raised 3 ..."),
// and lines "value NAME TYPE SHAPE NUMBERS..." and "gradient ...", numbers to the last bit.
std::string results_of(const Program& p);

}  // namespace reckon::differential
