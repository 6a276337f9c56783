#include "runtime/tensor.h"

#include <cstring>
#include <utility>

#include "runtime/core/error.h"
#include "runtime/device.h"
#include "runtime/events/scope.h"

namespace reckon {
namespace {

thread_local TensorSink* tensor_sink = nullptr;

}  // namespace

Layout Layout::permuted(const Dims& axes) const {
  RECKON_CHECK(axes.rank() == shape.rank(), "permute of {} needs {} axes, got {}", to_string(shape),
               shape.rank(), to_string(axes));
  Layout out{shape, strides, offset};
  unsigned seen = 0;
  for (int i = 0; i < axes.rank(); ++i) {
    const int axis = normalize_axis(axes[i], shape.rank());
    RECKON_CHECK(!(seen & (1u << axis)), "permute names axis {} twice: {}", axis, to_string(axes));
    seen |= 1u << axis;
    out.shape[i] = shape[axis];
    out.strides[i] = strides[axis];
  }
  return out;
}

Layout Layout::transposed(int a, int b) const {
  a = normalize_axis(a, shape.rank());
  b = normalize_axis(b, shape.rank());
  Layout out = *this;
  std::swap(out.shape[a], out.shape[b]);
  std::swap(out.strides[a], out.strides[b]);
  return out;
}

Layout Layout::sliced(int axis, int64_t first, int64_t last) const {
  axis = normalize_axis(axis, shape.rank());
  RECKON_CHECK(0 <= first && first <= last && last <= shape[axis],
               "slice [{}, {}) of axis {} of {}: expected 0 <= first <= last <= {}", first, last, axis,
               to_string(shape), shape[axis]);
  Layout out = *this;
  out.shape[axis] = last - first;
  out.offset += first * strides[axis];
  return out;
}

Layout Layout::expanded(const Shape& to) const {
  const int lead = to.rank() - shape.rank();
  RECKON_CHECK(lead >= 0, "cannot expand {} to {}: the rank would fall from {} to {}", to_string(shape),
               to_string(to), shape.rank(), to.rank());
  numel(to);  // negative extents
  Layout out{to, Dims::filled(to.rank(), 0), offset};
  for (int i = lead; i < to.rank(); ++i) {
    const int64_t have = shape[i - lead];
    RECKON_CHECK(have == to[i] || have == 1, "cannot expand {} to {}: axis {} has {}, expected {} or 1",
                 to_string(shape), to_string(to), i - lead, have, to[i]);
    out.strides[i] = have == to[i] ? strides[i - lead] : 0;
  }
  return out;
}

bool Layout::reshaped(const Shape& to, Layout* out) const {
  RECKON_CHECK(numel(to) == numel(shape), "cannot reshape {} to {}: {} elements against {}", to_string(shape),
               to_string(to), numel(shape), numel(to));
  *out = {to, contiguous_strides(to), offset};
  if (numel(shape) == 0 || is_contiguous(shape, strides)) return true;
  // Walk both shapes from the left in groups of equal size; within a group the old axes must be mergeable.
  int i = 0, j = 0;
  const int n = shape.rank(), m = to.rank();
  while (i < n || j < m) {
    int64_t old_size = i < n ? shape[i] : 1, new_size = j < m ? to[j] : 1;
    int i_end = i < n ? i + 1 : i, j_end = j < m ? j + 1 : j;
    while (old_size != new_size) {
      if (old_size < new_size)
        old_size *= shape[i_end++];
      else
        new_size *= to[j_end++];
    }
    int64_t stride = 0;
    bool have_stride = false;
    for (int a = i_end - 1; a >= i; --a) {  // all axes of extent > 1 must step as one
      if (shape[a] == 1) continue;
      if (!have_stride) {
        stride = strides[a];
        have_stride = true;
      } else {
        int inner = a + 1;
        while (inner < i_end && shape[inner] == 1) ++inner;
        if (strides[a] != strides[inner] * shape[inner]) return false;
      }
    }
    for (int a = j_end - 1; a >= j; --a) {
      out->strides[a] = have_stride ? stride : 1;
      stride *= to[a];
    }
    i = i_end;
    j = j_end;
  }
  return true;
}

Tensor Tensor::empty(Device& device, const Shape& shape, DType dtype, Category category,
                     std::string_view label) {
  const int64_t bytes =
      checked_multiply(reckon::numel(shape), static_cast<int64_t>(size_of(dtype)), "bytes of a tensor");
  Tensor t(
      std::make_shared<Storage>(device, device.arena(), static_cast<size_t>(bytes), category, intern(label)),
      Layout{shape, contiguous_strides(shape), 0}, dtype);
  if (tensor_sink) tensor_sink->made(t);
  return t;
}

TensorSink* set_tensor_sink(TensorSink* sink) { return std::exchange(tensor_sink, sink); }

Tensor Tensor::from_host(Device& device, const Shape& shape, DType dtype, const void* data, size_t bytes,
                         Category category, std::string_view label) {
  Scope scope;
  context().op = intern("copy_from_host");
  Tensor t = empty(device, shape, dtype, category, label);
  RECKON_CHECK(bytes == t.bytes(), "host data for {} has {} bytes, expected {}", describe(t), bytes, t.bytes());
  device.note_launch(LaunchKind::copy, intern("host_to_device"));
  if (device.executes()) device.copy_from_host(t.address(), data, bytes);
  return t;
}

Tensor Tensor::reshaped(const Shape& shape) const {
  Layout out;
  RECKON_CHECK(layout_.reshaped(shape, &out),
               "view of {} with strides {} as {} needs a copy: make it contiguous first", describe(*this),
               to_string(strides()), to_string(shape));
  return with_layout(out);
}

std::byte* Tensor::raw() const {
  RECKON_CHECK(defined(), "read of an undefined tensor in module '{}'", name_of(context().module));
  RECKON_CHECK(device().arena().source().readable_by_host(),
               "tensor {} lives on {} and {} (op '{}', module '{}')", describe(*this), name_of(device().kind()),
               device().executes() ? "the host cannot follow its address: copy it first"
                                   : "has no data to read: a dry run must not depend on values",
               name_of(context().op), name_of(context().module));
  return address();
}

void Tensor::copy_to_host(void* out, size_t bytes) const {
  RECKON_CHECK(contiguous() && bytes == this->bytes(),
               "copy to host needs a contiguous tensor of {} bytes, got {}", bytes, describe(*this));
  device().copy_to_host(out, address(), bytes);
}

void Tensor::copy_from_host(const void* data, size_t bytes) const {
  RECKON_CHECK(contiguous() && bytes == this->bytes(),
               "copy from the host needs a contiguous tensor of {} bytes, got {}", bytes, describe(*this));
  storage_->announce_write();
  if (device().executes()) device().copy_from_host(address(), data, bytes);
  storage_->bump_version();
}

std::span<const std::byte> Tensor::host_bytes(std::vector<std::byte>& copy) const {
  if (contiguous() && device().arena().source().readable_by_host()) return {address(), bytes()};
  copy = to_host();
  return copy;
}

std::vector<std::byte> Tensor::to_host() const {
  std::vector<std::byte> out(bytes());
  copy_to_host(out.data(), out.size());
  return out;
}

std::string describe(const Tensor& t) {
  if (!t.defined()) return "undefined";
  return fmt::format("{}{}", name_of(t.dtype()), to_string(t.shape()));
}

}  // namespace reckon
