// The published figures of AF3-style training as sheets, each from dry runs on
// meta. Called by `reckon figures`.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "studies/sheet.h"

namespace reckon::cli {

struct NamedSheet {
  std::string name;
  std::function<Sheet()> make;
};
std::vector<NamedSheet> all_sheets();

}  // namespace reckon::cli
