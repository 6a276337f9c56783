// Cuts a program down while it stays wrong.
#pragma once

#include <functional>

#include "tests/differential/program.h"

namespace reckon::differential {

// `wrong` says whether a program still shows the fault; the result does, and no single cut of it does.
Program shrink(Program p, const std::function<bool(const Program&)>& wrong);

}  // namespace reckon::differential
