// A tensor is a handle: a storage, a shape, strides, an offset and an element type. Views share the storage and
// cost no bytes. Functions here never run device work and know nothing of gradients; ops/view.h has their
// differentiable forms.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/core/dtype.h"
#include "runtime/core/shape.h"
#include "runtime/memory/storage.h"

namespace reckon {

// What autograd hangs on a tensor; runtime only carries it.
struct GradMeta {
  virtual ~GradMeta() = default;
  bool requires_grad = false;
};

struct Layout {
  Shape shape;
  Strides strides;
  int64_t offset = 0;  // elements

  Layout permuted(const Dims& axes) const;
  Layout transposed(int a, int b) const;
  Layout sliced(int axis, int64_t first, int64_t last) const;  // [first, last)
  Layout expanded(const Shape& shape) const;                   // broadcasts with stride 0
  // Same elements in row-major order under another shape; false when that needs a copy.
  bool reshaped(const Shape& shape, Layout* out) const;
};

class Tensor {
 public:
  Tensor() = default;
  Tensor(std::shared_ptr<Storage> storage, const Layout& layout, DType dtype)
      : storage_(std::move(storage)), layout_(layout), dtype_(dtype) {}

  // Uninitialised memory under the current scope.
  static Tensor empty(Device& device, const Shape& shape, DType dtype, Category category = Category::transient,
                      std::string_view label = {});
  // Copies `bytes` host bytes in (a `copy` launch); `bytes` must match the tensor's size.
  static Tensor from_host(Device& device, const Shape& shape, DType dtype, const void* data, size_t bytes,
                          Category category, std::string_view label = {});

  bool defined() const { return storage_ != nullptr; }
  explicit operator bool() const { return defined(); }
  const Shape& shape() const { return layout_.shape; }
  const Strides& strides() const { return layout_.strides; }
  const Layout& layout() const { return layout_; }
  int rank() const { return layout_.shape.rank(); }
  int64_t size(int64_t axis) const { return layout_.shape[normalize_axis(axis, rank())]; }
  int64_t numel() const { return reckon::numel(layout_.shape); }
  DType dtype() const { return dtype_; }
  size_t bytes() const { return static_cast<size_t>(numel()) * size_of(dtype_); }
  bool contiguous() const { return is_contiguous(layout_.shape, layout_.strides); }
  Device& device() const { return storage_->device(); }
  const std::shared_ptr<Storage>& storage() const { return storage_; }

  // Another view of the same storage, without gradient history.
  Tensor with_layout(const Layout& layout) const { return Tensor(storage_, layout, dtype_); }
  Tensor detached() const { return Tensor(storage_, layout_, dtype_); }
  Tensor permuted(const Dims& axes) const { return with_layout(layout_.permuted(axes)); }
  Tensor transposed(int a, int b) const { return with_layout(layout_.transposed(a, b)); }
  Tensor sliced(int axis, int64_t first, int64_t last) const {
    return with_layout(layout_.sliced(axis, first, last));
  }
  Tensor expanded(const Shape& shape) const { return with_layout(layout_.expanded(shape)); }
  Tensor reshaped(const Shape& shape) const;  // Error when it needs a copy

  // First element, for the host. Error where the host cannot read: on meta ("there is no data") and on a GPU.
  // Writes through this pointer go unnoticed: backward would use the new values of what it kept.
  std::byte* raw() const;
  template <class T>
  T* data() const {
    return reinterpret_cast<T*>(raw());
  }
  // First element's address without the right to follow it.
  std::byte* address() const {
    return storage_->data() + layout_.offset * static_cast<int64_t>(size_of(dtype_));
  }
  // Whole contiguous tensors. copy_from_host is a write like that of an op, an error in backward where the old
  // values were kept for it; on meta it copies nothing. copy_to_host needs a device that has data.
  void copy_to_host(void* out, size_t bytes) const;
  void copy_from_host(const void* data, size_t bytes) const;
  std::vector<std::byte> to_host() const;
  // Its bytes for reading: where they lie when the host can follow the address, else copied into `copy`.
  std::span<const std::byte> host_bytes(std::vector<std::byte>& copy) const;

  const std::shared_ptr<GradMeta>& grad_meta() const { return grad_; }
  void set_grad_meta(std::shared_ptr<GradMeta> meta) { grad_ = std::move(meta); }
  bool requires_grad() const { return grad_ && grad_->requires_grad; }

 private:
  std::shared_ptr<Storage> storage_;
  Layout layout_;
  DType dtype_ = DType::f32;
  std::shared_ptr<GradMeta> grad_;
};

// Told of every tensor that gets memory of its own (views do not), for readers that need shapes beside the
// bytes of the events. One per thread; returns the one before it, nullptr when there was none.
struct TensorSink {
  virtual ~TensorSink() = default;
  virtual void made(const Tensor& t) = 0;
};
TensorSink* set_tensor_sink(TensorSink* sink);

using TensorList = std::vector<Tensor>;

std::string describe(const Tensor& t);  // "f32[2, 3]"

}  // namespace reckon
