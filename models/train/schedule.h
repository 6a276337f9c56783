// Learning rate as a pure function of the step, so that a resumed run needs no state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace reckon::models {

struct Schedule {
  enum class Kind : uint8_t { constant, linear, cosine } kind = Kind::cosine;
  double lr = 1e-3;
  int64_t warmup = 0;   // steps from 0 up to lr
  int64_t total = 1;    // linear and cosine fall to 0 at this step
  double cycles = 0.5;  // of the cosine between warm-up and total

  // Of optimizer step 0, 1, 2, ...: step / warmup * lr during warm-up, then lr * (1
  // + cos(2 pi cycles progress)) / 2.
  double at(int64_t step) const;
  static Kind kind_from_name(std::string_view name);
  static std::string_view name_of(Kind k);
};

}  // namespace reckon::models
