// FLOPs three times over: what the maths needs, what the ops declare to have run, what the hardware's counters
// saw; and names for the differences. Pure.
//
// needed    forward, loss, backward and optimizer: the declared work without what is run a second time
// executed the declared work of everything that ran hardware tensor-core operations plus arithmetic of the
// ordinary units (a multiply-add is two, as everywhere)
#pragma once

#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "profiler/books.h"
#include "profiler/device_books.h"

namespace reckon::profiler {

// The block of the result (m x n) and of the sums (k) that a product's kernel works on at a time.
struct Tile {
  int64_t m = 0, n = 0, k = 0;
  friend bool operator==(const Tile&, const Tile&) = default;
};

// From the name of a library's kernel, where it says: cutlass, nvjet and xmma do.
std::optional<Tile> tile_of_kernel(std::string_view name);
bool is_split_k_reduction(std::string_view name);

int64_t product_flops(const Product& p);  // 2 m n k, all batches and counts
// What is computed when every extent is filled up to whole tiles. Which extent of the product is the tile's m,
// and which its n, depends on the order of storage: the smaller result counts.
int64_t padded_flops(const Product& p, const Tile& tile);

// Pairs of queries and keys that a causal mask lets through: query i of lq sees keys 0 .. lk - lq + i.
int64_t causal_pairs(int64_t lq, int64_t lk);
// The same when whole tiles are computed and only tiles without any visible pair are skipped.
int64_t causal_tile_pairs(int64_t lq, int64_t lk, int64_t tile_q, int64_t tile_k);

struct GapReason {
  std::string name;
  std::optional<int64_t> flops;  // absent: it holds here, its size is unknown
  friend bool operator==(const GapReason&, const GapReason&) = default;
};

struct FlopRow {
  NameId op{}, module{};
  Phase phase{};
  int64_t needed = 0, executed = 0;
  std::optional<int64_t> hardware;
  std::vector<GapReason> reasons;
  // hardware less executed less the reasons for that difference whose size is
  // known; recompute is no such reason.
  std::optional<int64_t> unexplained;
};

// Rows of the cells where work was declared or counted, by executed FLOPs. `traced` gives names of kernels and
// shapes of products; null: unknown.
std::vector<FlopRow> reconcile_flops(const StepBooks& work, const DeviceStep* traced,
                                     const CounterBooks& counted);

}  // namespace reckon::profiler
