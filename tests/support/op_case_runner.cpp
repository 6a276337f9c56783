#include "tests/support/op_case_runner.h"

#include <algorithm>
#include <cmath>

#include "ops/cast/cast.h"
#include "ops/copy_into/copy_into.h"
#include "ops/fill/fill.h"
#include "runtime/core/element.h"
#include "runtime/core/rng.h"
#include "runtime/cpu/isa.h"

namespace reckon::testing {
namespace {

double draw(const ops::InputSpec& spec, const Philox& random, uint64_t i) {
  const PhiloxBlock b = random(i);
  switch (spec.kind) {
    case ops::InputKind::normal:
      return normal_pair(uniform_open(b[0]), uniform_open(b[1]))[0];
    case ops::InputKind::positive:
      return 0.5 + 1.5 * uniform_open(b[0]);
    case ops::InputKind::unit:
      return uniform_open(b[0]);
    case ops::InputKind::mask01:
      return b[0] % 4 == 0 ? 0.0 : 1.0;
    case ops::InputKind::index:
      return static_cast<double>(uniform_below(b, static_cast<uint64_t>(spec.index_limit)));
  }
  return 0;
}

// The values of t in the layout given, inside a buffer of `elements`.
Tensor laid_out(const Tensor& t, const Strides& strides, int64_t offset, int64_t elements) {
  const Tensor buffer = Tensor::empty(t.device(), {elements}, t.dtype(), Category::input, "laid out");
  ops::fill(buffer, is_floating(t.dtype()) ? NAN : (t.dtype() == DType::i64 ? 1e15 : 255));
  const Tensor view = buffer.with_layout({t.shape(), strides, offset});
  ops::copy_into(view, t);
  return view;
}

// Dense in memory, the axes from the slowest to the fastest in the order given.
Tensor in_memory_order(const Tensor& t, const Dims& order) {
  Strides strides = t.strides();
  int64_t step = 1;
  for (int i = order.rank() - 1; i >= 0; --i) {
    strides[static_cast<int>(order[i])] = step;
    step *= t.shape()[static_cast<int>(order[i])];
  }
  return laid_out(t, strides, 2, step + 4);
}

Dims counting(int rank) {
  Dims axes;
  for (int i = 0; i < rank; ++i) axes.push_back(i);
  return axes;
}

Tensor every_second(const Tensor& t) {
  Strides strides = contiguous_strides(t.shape());
  for (int i = 0; i < t.rank(); ++i) strides[i] *= 2;
  return laid_out(t, strides, 3, 2 * t.numel() + 6);
}
Tensor apart(const Tensor& t) {  // rows with a gap after each
  if (t.rank() == 0) return {};
  Shape padded = t.shape();
  padded[t.rank() - 1] += 3;
  return laid_out(t, contiguous_strides(padded), 1, numel(padded) + 4);
}
Tensor transposed(const Tensor& t) {
  if (t.rank() < 2) return {};
  Dims order = counting(t.rank());
  std::swap(order[t.rank() - 1], order[t.rank() - 2]);
  return in_memory_order(t, order);
}
Tensor reversed(const Tensor& t) {
  if (t.rank() < 3) return {};
  Dims order = counting(t.rank());
  std::reverse(&order[0], &order[0] + t.rank());
  return in_memory_order(t, order);
}
Tensor shifted(const Tensor& t) {  // contiguous, at an address of no alignment
  return laid_out(t, contiguous_strides(t.shape()), 1, t.numel() + 2);
}

}  // namespace

const std::vector<Relayout>& relayouts() {
  static const std::vector<Relayout> all{{"every second element", every_second},
                                         {"rows apart", apart},
                                         {"last axes swapped", transposed},
                                         {"axes reversed", reversed},
                                         {"shifted", shifted}};
  return all;
}

Tensor repeated_along(const Tensor& t, int axis) { return t.sliced(axis, 0, 1).expanded(t.shape()); }

Tensor from_doubles(Device& device, const Shape& shape, DType type, const std::vector<double>& values) {
  const std::vector<std::byte> host = bytes_of(values, type);
  return Tensor::from_host(device, shape, type, host.data(), host.size(), Category::input, "case");
}

TensorList make_inputs(Device& device, const ops::OpCase& c, DType dtype, uint64_t seed) {
  TensorList inputs;
  for (size_t k = 0; k < c.inputs.size(); ++k) {
    const ops::InputSpec& spec = c.inputs[k];
    if (spec.optional_absent) {
      inputs.emplace_back();
      continue;
    }
    Shape stored = spec.shape;
    if (spec.transposed) std::swap(stored[stored.rank() - 1], stored[stored.rank() - 2]);
    const bool integer = spec.kind == ops::InputKind::index;
    const DType t = integer ? DType::i64 : (spec.fixed_f32 && dtype != DType::f64 ? DType::f32 : dtype);
    std::vector<double> values(static_cast<size_t>(numel(stored)));
    for (size_t i = 0; i < values.size(); ++i) {
      const double v = draw(spec, {seed, k}, i);
      // Every type gets values that f16 and bf16 both hold, so that all types see the same input.
      values[i] = integer ? v : bf16_to_f32(f32_to_bf16(static_cast<float>(v)));
    }
    const Tensor made = from_doubles(device, stored, t, values);
    inputs.push_back(spec.transposed ? made.transposed(-2, -1) : made);
  }
  return inputs;
}

std::vector<double> to_doubles(const Tensor& t) { return numbers_of(ops::contiguous(t).to_host(), t.dtype()); }

double relative_error(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return INFINITY;
  double largest = 0, worst = 0;
  for (double v : b) largest = std::max(largest, std::fabs(v));
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = std::fabs(a[i] - b[i]);
    if (std::isnan(d)) return std::isnan(a[i]) && std::isnan(b[i]) ? worst : INFINITY;
    worst = std::max(worst, d);
  }
  return worst == 0 ? 0 : worst / std::max(largest, 1e-30);
}

double tolerance(DType t) {
  switch (t) {
    case DType::f64:
      return 1e-12;
    case DType::f32:
      return 2e-6;
    case DType::bf16:
      return 1e-2;
    default:
      return 2e-3;
  }
}

std::unique_ptr<Device> make_device(DeviceKind kind, int threads, int isa_level) {
  DeviceSpec spec = DeviceSpec::this_machine();
  spec.threads = threads;
  if (isa_level >= 0) spec.isa_level = isa_level;
  return std::make_unique<Device>(kind, spec);
}

}  // namespace reckon::testing
