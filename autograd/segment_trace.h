// What the first run of a checkpointed segment leaves behind: no nodes, but which outputs require a gradient, and
// which tensors from outside it read, so that running it again on other values is an error.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>

#include "autograd/node.h"

namespace reckon::autograd {

// The storages made before the segment began that its ops read, at the version they were first read at.
class OutsideReads {
 public:
  OutsideReads() : begin_(Storage::next_birth()) {}
  void note(const Tensor& t);
  // Error when one was written to since; one that is gone cannot be read again.
  void check(NameId segment) const;

 private:
  struct Read {
    std::weak_ptr<Storage> storage;
    uint32_t version;
    Shape shape;
    DType dtype;
  };
  uint64_t begin_;
  std::unordered_map<const Storage*, Read> reads_;
};

// While it exists, calls of this thread mark what they would record instead of recording it.
class SegmentTrace {
 public:
  explicit SegmentTrace(OutsideReads& reads);
  ~SegmentTrace();
  SegmentTrace(const SegmentTrace&) = delete;
  SegmentTrace& operator=(const SegmentTrace&) = delete;

  static bool active();
  static void note_reads(std::span<const Tensor> tensors);  // nothing outside a first run
};

// Marks `t`, an output of an op with inputs that require a gradient, as requiring one.
void mark_traced(Tensor& t);
bool is_traced(const AutogradMeta& meta);

}  // namespace reckon::autograd
