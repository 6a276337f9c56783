#include "ops/layouts.h"

#include <algorithm>

namespace reckon::ops {
namespace {

bool names(uint32_t inputs, size_t i) { return inputs == ~0u || (i < 32 && ((inputs >> i) & 1u)); }

bool rows_are_dense(const Tensor& t) { return t.rank() == 0 || t.size(-1) <= 1 || t.strides().back() == 1; }

bool takes(const OpDef& op, size_t i, const Tensor& t) {
  if (!t.defined() || names(op.layouts.any, i) || t.contiguous()) return true;
  return names(op.layouts.rows, i) && rows_are_dense(t);
}

// The elements from the first to the last that a tensor shows, strides being >= 0.
struct Extent {
  const Storage* storage;
  int64_t first, last;  // last is past the end
  size_t input;
  bool written;
};

Extent extent_of(const Tensor& t) {
  Extent e{t.storage().get(), t.layout().offset, t.layout().offset + 1, 0, false};
  for (int i = 0; i < t.rank(); ++i) e.last += (t.shape()[i] - 1) * t.strides()[i];
  return e;
}

bool same_layout(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.strides() == b.strides() && a.layout().offset == b.layout().offset;
}

}  // namespace

bool takes_layouts(const OpDef& op, std::span<const Tensor> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i)
    if (!takes(op, i, inputs[i])) return false;
  return true;
}

void check_layout(const OpDef& op, size_t i, const Tensor& t) {
  RECKON_CHECK(takes(op, i, t),
               "op '{}' takes its input {} {}, got {} with strides {}: make it contiguous first", op.name, i,
               names(op.layouts.rows, i) ? "with a unit stride on the last axis" : "contiguous", describe(t),
               to_string(t.strides()));
}

void check_layouts(const OpDef& op, std::span<const Tensor> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) check_layout(op, i, inputs[i]);
}

TensorList in_taken_layouts(const OpDef& op, std::span<const Tensor> inputs, const AttrsPtr& attrs) {
  static const OpDef& copy = op_by_name("contiguous");
  TensorList taken(inputs.begin(), inputs.end());
  for (size_t i = 0; i < taken.size(); ++i)
    if (!takes(op, i, taken[i])) taken[i] = call(copy, {taken[i]})[0];
  const Tensor* any = nullptr;
  for (const Tensor& t : taken)
    if (t.defined()) any = &t;
  const Plan plan = plan_of(op, taken, attrs, any->device().spec(), 0);
  for (const OutputSpec& o : plan.outputs)
    if (o.writes && o.alias_of >= 0)
      check_layout(op, static_cast<size_t>(o.alias_of), inputs[static_cast<size_t>(o.alias_of)]);
  return taken;
}

bool overlap_in_other_layout(const Tensor& a, const Tensor& b) {
  if (a.storage() != b.storage() || a.numel() == 0 || b.numel() == 0 || same_layout(a, b)) return false;
  const Extent x = extent_of(a), y = extent_of(b);
  return x.first < y.last && y.first < x.last;
}

void check_no_overlap(const OpDef& op, const Plan& plan, std::span<const Tensor> inputs) {
  InlineVector<size_t, 8> written_inputs;
  for (const OutputSpec& o : plan.outputs)
    if (o.writes && o.alias_of >= 0) written_inputs.push_back(static_cast<size_t>(o.alias_of));
  if (written_inputs.empty()) return;
  std::sort(written_inputs.begin(), written_inputs.end());
  InlineVector<Extent, 8> shown;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].defined() || inputs[i].numel() == 0) continue;
    Extent e = extent_of(inputs[i]);
    e.input = i;
    e.written = std::binary_search(written_inputs.begin(), written_inputs.end(), i);
    shown.push_back(e);
  }
  std::sort(shown.begin(), shown.end(), [](const Extent& a, const Extent& b) {
    return a.storage != b.storage ? std::less<>()(a.storage, b.storage) : a.first < b.first;
  });
  // Of those that begin before, the one that ends last and the written one that ends last.
  const Extent *reach = nullptr, *written = nullptr;
  for (const Extent& e : shown) {
    if (reach && reach->storage != e.storage) reach = written = nullptr;
    for (const Extent* other : {reach, written})
      RECKON_CHECK(!other || other->last <= e.first || (!other->written && !e.written) ||
                       (same_layout(inputs[other->input], inputs[e.input]) && !(other->written && e.written)),
                   "op '{}' writes memory that its inputs {} and {} share: {} with strides {} and {} with "
                   "strides {}; copy one of them first",
                   op.name, std::min(other->input, e.input), std::max(other->input, e.input),
                   describe(inputs[other->input]), to_string(inputs[other->input].strides()),
                   describe(inputs[e.input]), to_string(inputs[e.input].strides()));
    if (!reach || e.last > reach->last) reach = &e;
    if (e.written && (!written || e.last > written->last)) written = &e;
  }
}

}  // namespace reckon::ops
