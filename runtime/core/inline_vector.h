// A vector whose first N elements lie inside it, so that the small lists of every op call (outputs, launches,
// saved tensors) never touch the heap. Used by plans and dispatch.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <utility>
#include <vector>

namespace reckon {

// T must be default-constructible and cheap to assign. Once there are more than N
// elements, all lie on the heap.
template <class T, size_t N>
class InlineVector {
 public:
  InlineVector() = default;
  InlineVector(std::initializer_list<T> values) { append(values); }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* data() { return spilled() ? heap_.data() : inside_.data(); }
  const T* data() const { return spilled() ? heap_.data() : inside_.data(); }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size_; }
  T& operator[](size_t i) { return data()[i]; }
  const T& operator[](size_t i) const { return data()[i]; }
  T& front() { return data()[0]; }
  T& back() { return data()[size_ - 1]; }
  const T& front() const { return data()[0]; }
  const T& back() const { return data()[size_ - 1]; }

  void push_back(T value) {
    if (size_ < N) {
      inside_[size_] = std::move(value);
    } else {
      if (size_ == N)
        heap_.assign(std::make_move_iterator(inside_.begin()), std::make_move_iterator(inside_.end()));
      heap_.push_back(std::move(value));
    }
    ++size_;
  }
  template <class... A>
  void emplace_back(A&&... args) {
    push_back(T{std::forward<A>(args)...});
  }
  void append(std::initializer_list<T> values) {
    for (const T& v : values) push_back(v);
  }

 private:
  bool spilled() const { return size_ > N; }

  std::array<T, N> inside_{};
  std::vector<T> heap_;
  size_t size_ = 0;
};

}  // namespace reckon
