// Dropout of residual branches. Called by the blocks of every family.
#pragma once

#include <functional>
#include <string_view>

#include "runtime/tensor.h"

namespace reckon::models {

// Where a dropped-out update comes from: random masks by default, recorded ones when
// a test replays somebody's run.
struct DropoutSource {
  bool training = false;
  // (site, update) -> dropped update; replaces the random masks when set.
  std::function<Tensor(std::string_view site, const Tensor& update)> recorded;
};

// x with a random mask shared along `shared_axes`, from the next stream of this thread's generator.
Tensor dropout(const Tensor& x, double p, const Dims& shared_axes, const DropoutSource& drop);

// residual + dropout(update), the mask shared along `shared_axis`: one op when fused, which keeps no mask.
Tensor add_dropped(const Tensor& residual, const Tensor& update, double p, int shared_axis,
                   std::string_view site, const DropoutSource& drop);

}  // namespace reckon::models
