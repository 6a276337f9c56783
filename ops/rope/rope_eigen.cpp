// Rotary position embedding (Su et al., arXiv:2104.09864) with the halves of a head as real and imaginary
// parts: pair i of D / 2 at position p is multiplied by exp(i p theta^(-2i / D)), or by its conjugate.
#include <cmath>
#include <complex>

#include "ops/reference.h"
#include "ops/rope/rope_attrs.h"

namespace reckon::ops {
namespace {

HostTensors rope(const ReferenceCall& c) {
  const auto& t = c.as<RopeAttrs>();
  const HostTensor &x = c.in[rope_in::x], &positions = c.in[rope_in::positions];
  const int64_t half = x.last() / 2;
  HostTensor y(x.shape);
  for (int64_t b = 0; b < x.size(0); ++b)
    for (int64_t s = 0; s < x.size(1); ++s)
      for (int64_t h = 0; h < x.size(2); ++h)
        for (int64_t i = 0; i < half; ++i) {
          const double position = positions.shape.rank() == 1 ? positions.at({s}) : positions.at({b, s});
          const double frequency =
              std::exp(-2.0 * static_cast<double>(i) / static_cast<double>(x.last()) * t.log_theta);
          const std::complex<double> pair(x.at({b, s, h, i}), x.at({b, s, h, half + i}));
          const auto turned = pair * std::polar(1.0, (t.inverse ? -1 : 1) * position * frequency);
          y.at({b, s, h, i}) = turned.real();
          y.at({b, s, h, half + i}) = turned.imag();
        }
  return {y};
}

}  // namespace

std::vector<OpReference> rope_references() {
  return {{.op = "rope",
           .compute = rope,
           .golden = {"ops/rope_a.safetensors", "ops/rope_offset_positions.safetensors"}}};
}

}  // namespace reckon::ops
