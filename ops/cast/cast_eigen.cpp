// Conversion between element types: the nearest number that the type holds, of two equally near ones the even
// one (IEEE 754, roundTiesToEven). A row-major copy changes no value.
#include <cmath>

#include "ops/cast/cast_attrs.h"
#include "ops/reference.h"

namespace reckon::ops {
namespace {

// Of a binary format: digits of the significand with the leading one, least exponent e for which 2^e is normal.
struct Format {
  int digits, least_exponent;
  double largest;
};

Format format_of(DType t) {
  switch (t) {
    case DType::bf16:
      return {8, -126, 0x1.fep127};
    case DType::f16:
      return {11, -14, 65504};
    case DType::f32:
      return {24, -126, 0x1.fffffep127};
    default:
      return {53, -1022, 0x1.fffffffffffffp1023};
  }
}

double rounded(double x, DType t) {
  const Format f = format_of(t);
  if (x == 0 || !std::isfinite(x)) return x;
  const double step = std::ldexp(1.0, std::max(std::ilogb(x), f.least_exponent) - f.digits + 1);
  const double nearest = std::nearbyint(x / step) * step;
  return std::fabs(nearest) > f.largest ? std::copysign(INFINITY, x) : nearest;
}

HostTensors cast(const ReferenceCall& c) {
  HostTensors out;
  for (const HostTensor& x : c.in)
    out.push_back(
        shaped(x.shape, x.flat().unaryExpr([&](double v) { return rounded(v, c.as<CastAttrs>().to); })));
  return out;
}

HostTensors contiguous(const ReferenceCall& c) { return {c.in[0]}; }

std::vector<OpValues> halves() {
  const std::string ties =
      "spacing above 1 is 2^-7 in bf16 and 2^-10 in f16: half of it rounds to the even neighbour";
  const HostTensor x({4}, {1 + 0x1p-8, 1 + 3 * 0x1p-8, 1 + 0x1p-11, 1 + 3 * 0x1p-11});
  return {{.name = "ties to bf16",
           .inputs = {x},
           .attrs = std::make_shared<CastAttrs>(DType::bf16),
           .outputs = {{{4}, {1, 1 + 0x1p-6, 1, 1}}},
           .source = ties},
          {.name = "ties to f16",
           .inputs = {x},
           .attrs = std::make_shared<CastAttrs>(DType::f16),
           .outputs = {{{4}, {1 + 0x1p-8, 1 + 3 * 0x1p-8, 1, 1 + 0x1p-9}}},
           .source = ties}};
}

}  // namespace

std::vector<OpReference> cast_references() {
  return {
      {.op = "cast", .compute = cast, .values = halves(), .golden = {"ops/cast_f32_to_half_types.safetensors"}},
      {.op = "cast_all", .compute = cast, .values = halves()},
      {.op = "contiguous", .compute = contiguous, .golden = {"ops/permute_reshape_a.safetensors"}}};
}

}  // namespace reckon::ops
