// The record of everything that happens to memory and work on a device. Runtime emits events,
// the profiler reads them; nothing else is known about a run. Equality ignores time, so two runs
// can be compared event for event.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "runtime/core/intern.h"

namespace reckon {

// Why a byte exists. Given at birth; `transient` and `saved` change into each other, a leaf's first gradient
// turns `transient` into `gradient`. Every change is an event.
enum class Category : uint8_t {
  parameter,
  gradient,
  optimizer,
  saved,
  cast,
  transient,
  workspace,
  input,
  kv_cache
};
inline constexpr int kCategories = 9;

enum class Phase : uint8_t { init, data, forward, loss, backward, recompute, optimizer, communication };
inline constexpr int kPhases = 8;

enum class LaunchKind : uint8_t { kernel, library, fill, copy };
inline constexpr int kLaunchKinds = 4;

std::string_view name_of(Category c);
std::string_view name_of(Phase p);
std::string_view name_of(LaunchKind k);

// Work of one op call as its declaration states it. FLOPs count a multiply-add as two; additions,
// multiplications, divisions and comparisons (max) are `vector_flops`; exp, log, sqrt, tanh, erf,
// sin, cos are `special` (one each). Bytes are each operand read or written once (the least
// traffic any implementation can have).
struct Cost {
  int64_t matmul_flops = 0;
  int64_t vector_flops = 0;
  int64_t special = 0;
  int64_t bytes_read = 0;
  int64_t bytes_written = 0;

  Cost& operator+=(const Cost& o);
  friend bool operator==(const Cost&, const Cost&) = default;
};

enum class EventKind : uint8_t {
  segment_acquired,  // id = segment, bytes
  segment_released,
  allocated,      // id, bytes (requested), rounded, segment, offset, category
  freed,          // same id and category as at that moment
  saved,          // first saver: category_before -> category (equal when the category does not change)
  unsaved,        // last saver gone
  recategorized,  // any other change of category
  op_begin,
  op_end,    // cost
  launched,  // launch kind, label = kernel name
  step_begin,
  step_end,
};

std::string_view name_of(EventKind k);

struct Event {
  EventKind kind{};
  Phase phase{};
  Category category{};
  Category category_before{};
  LaunchKind launch{};
  NameId op{}, module{}, label{};
  int64_t step = 0;
  int64_t id = 0;
  int64_t bytes = 0;
  int64_t rounded = 0;
  int64_t segment = 0;
  int64_t offset = 0;
  Cost cost{};
  // op_end: equal for calls of one op with equal attributes on equal values (same storages at the same version,
  // or storages that equal calls made). 0: attributes that cannot be compared.
  uint64_t signature = 0;
  int64_t t_ns = 0;  // steady clock; not part of equality

  // True when everything but the time agrees.
  bool same_as(const Event& o) const;
};

struct EventSink {
  virtual ~EventSink() = default;
  virtual void on(const Event& event) = 0;
};

}  // namespace reckon
