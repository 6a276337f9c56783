// Dropout: an element is kept, times 1 / (1 - p), where the mask has a one. Mask element i is word i % 4 of the
// generator's block i / 4, compared with p 2^32. tests/core/rng_test.cpp has the generator's published answers.
#include "ops/dropout/dropout_attrs.h"
#include "ops/reference.h"
#include "runtime/core/rng.h"

namespace reckon::ops {
namespace {

HostTensor drawn_mask(const Shape& x, const DropoutAttrs& t) {
  Shape shape = x;
  for (int a = 0; a < x.rank(); ++a)
    if ((t.shared >> a) & 1u) shape[a] = 1;
  HostTensor mask(shape);
  const Philox random{t.key.seed, t.key.stream};
  for (size_t i = 0; i < mask.values.size(); ++i) mask.values[i] = random(i / 4)[i % 4] >= t.threshold ? 1 : 0;
  return mask;
}

HostTensor dropped(const HostTensor& x, const HostTensor& mask, double scale) {
  HostTensor y(x.shape);
  for_each_index(x.shape, [&](const Dims& i) {
    Dims shared = i;
    for (int a = 0; a < i.rank(); ++a)
      if (mask.shape[a] == 1) shared[a] = 0;
    y.at(i) = mask.at(shared) != 0 ? scale * x.at(i) : 0;
  });
  return y;
}

HostTensors dropout(const ReferenceCall& c) {
  const auto& t = c.as<DropoutAttrs>();
  const HostTensor mask = drawn_mask(c.in[0].shape, t);
  return {dropped(c.in[0], mask, t.scale), mask};
}

HostTensors dropout_backward(const ReferenceCall& c) {
  return {dropped(c.in[dropout_backward_in::g], c.in[dropout_backward_in::mask], c.as<DropoutAttrs>().scale)};
}

HostTensors dropout_redraw(const ReferenceCall& c) {
  const auto& t = c.as<DropoutAttrs>();
  return {dropped(c.in[0], drawn_mask(c.in[0].shape, t), t.scale)};
}

HostTensors dropout_add(const ReferenceCall& c) {
  const auto& t = c.as<DropoutAttrs>();
  const HostTensor &residual = c.in[dropout_add_in::residual], &x = c.in[dropout_add_in::x];
  return {shaped(x.shape, residual.flat() + dropped(x, drawn_mask(x.shape, t), t.scale).flat())};
}

}  // namespace

std::vector<OpReference> dropout_references() {
  const HostTensor x({4}, {1, 2, 3, 4}), mask({4}, {0, 1, 1, 1}, DType::u8), dropped({4}, {0, 4, 6, 8});
  const auto attrs = std::make_shared<DropoutAttrs>(0.5, DropoutKey{0, 0}, 0);
  const auto redraw = std::make_shared<RedrawAttrs>(*attrs);
  const std::string source =
      "Random123's known answer for Philox4x32-10 with counter and key 0 is 6627e8d5 e169c58d bc57ac4c "
      "9b00dbd8: of these "
      "the first alone is below 2^31";
  return {
      {.op = "dropout",
       .compute = dropout,
       .values =
           {{.name = "a half", .inputs = {x}, .attrs = attrs, .outputs = {dropped, mask}, .source = source}}},
      {.op = "dropout_backward",
       .compute = dropout_backward,
       .values =
           {{.name = "a half", .inputs = {x, mask}, .attrs = attrs, .outputs = {dropped}, .source = source}}},
      {.op = "dropout_redraw",
       .compute = dropout_redraw,
       .values = {{.name = "a half", .inputs = {x}, .attrs = redraw, .outputs = {dropped}, .source = source}}},
      {.op = "dropout_add",
       .compute = dropout_add,
       .values = {{.name = "a half",
                   .inputs = {{{4}, {10, 20, 30, 40}}, x},
                   .attrs = attrs,
                   .outputs = {{{4}, {10, 24, 36, 48}}},
                   .source = source}}}};
}

}  // namespace reckon::ops
