#include "profiler/flop_gaps.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <tuple>

namespace reckon::profiler {
namespace {

int64_t round_up(int64_t n, int64_t to) { return to > 0 ? (n + to - 1) / to * to : n; }

// A number at `at`, which moves behind it; -1 when there is none.
int64_t number_at(std::string_view s, size_t& at) {
  int64_t n = -1;
  const auto [end, error] = std::from_chars(s.data() + at, s.data() + s.size(), n);
  if (error != std::errc{} || n <= 0) return -1;
  at = static_cast<size_t>(end - s.data());
  return n;
}

bool eat(std::string_view s, size_t& at, char c) {
  if (at >= s.size() || s[at] != c) return false;
  ++at;
  return true;
}

// "128x64x32" at `at`: as many numbers as `n`.
bool extents_at(std::string_view s, size_t at, int n, int64_t* out) {
  for (int i = 0; i < n; ++i) {
    if (i > 0 && !eat(s, at, 'x')) return false;
    if ((out[i] = number_at(s, at)) < 0) return false;
  }
  return at >= s.size() || s[at] == '_';
}

using Key = std::tuple<NameId, NameId, Phase>;

std::vector<GapReason> reasons_for(const FlopRow& row, const DeviceCell* cell, const DeviceStep* traced,
                                   const CountedWork& counted, bool half_assumed) {
  std::vector<GapReason> reasons;
  if (row.phase == Phase::recompute) reasons.push_back({"recompute", row.executed});
  if (!cell) return reasons;
  std::vector<Tile> tiles;
  bool split = false, own_products = false;
  for (int32_t k : cell->kernels) {
    const KernelLine& line = traced->kernels[static_cast<size_t>(k)];
    if (line.own) own_products |= counted.tensor_bf16.value_or(0) + counted.tensor_f16.value_or(0) > 0;
    split |= !line.own && is_split_k_reduction(line.name);
    if (const auto tile = line.own ? std::nullopt : tile_of_kernel(line.name))
      if (std::find(tiles.begin(), tiles.end(), *tile) == tiles.end()) tiles.push_back(*tile);
  }
  if (!cell->products.empty()) {
    int64_t exact = 0, padded = 0;
    for (const Product& p : cell->products) {
      exact += product_flops(p);
      if (tiles.size() == 1) padded += padded_flops(p, tiles.front());
    }
    // Several kernels may have shared the products in any way, and some names hold no tile.
    if (tiles.size() != 1)
      reasons.push_back({"tile padding", std::nullopt});
    else if (padded != exact)
      reasons.push_back({"tile padding", padded - exact});
  } else if (!tiles.empty()) {
    reasons.push_back({"tile padding", std::nullopt});
  }
  if (own_products) reasons.push_back({"whole tiles in our own kernels", std::nullopt});
  if (split) reasons.push_back({"split-K sums", std::nullopt});
  if (name_of(row.op).find("attention") != std::string_view::npos)
    reasons.push_back({"masked pairs inside visible tiles", std::nullopt});
  if (half_assumed) reasons.push_back({"f16 instructions taken as packed pairs", std::nullopt});
  return reasons;
}

}  // namespace

std::optional<Tile> tile_of_kernel(std::string_view name) {
  int64_t e[3];
  // xmma: ..._tilesize128x128x64_...
  if (const size_t at = name.find("tilesize"); at != std::string_view::npos && extents_at(name, at + 8, 3, e))
    return Tile{e[0], e[1], e[2]};
  // ..._128x256_ldg8_..._stages_32x5_...
  if (const size_t at = name.find("_stages_"); at != std::string_view::npos && extents_at(name, at + 8, 2, e)) {
    const int64_t k = e[0];
    for (size_t i = name.find('_'); i != std::string_view::npos && i < at; i = name.find('_', i + 1))
      if (extents_at(name, i + 1, 2, e)) return Tile{e[0], e[1], k};
  }
  // cutlass and nvjet: ..._128x256_64x4_..., the second pair being k and the number of stages
  for (size_t i = name.find('_'); i != std::string_view::npos; i = name.find('_', i + 1)) {
    int64_t mn[2];
    if (!extents_at(name, i + 1, 2, mn)) continue;
    const size_t next = name.find('_', i + 1);
    if (next != std::string_view::npos && extents_at(name, next + 1, 2, e)) return Tile{mn[0], mn[1], e[0]};
  }
  return std::nullopt;
}

bool is_split_k_reduction(std::string_view name) {
  return name.find("splitKreduce") != std::string_view::npos ||
         name.find("split_k_reduce") != std::string_view::npos ||
         name.find("reduceSplitK") != std::string_view::npos ||
         name.find("ReduceSplitK") != std::string_view::npos;
}

int64_t product_flops(const Product& p) { return 2 * p.m * p.n * p.k * p.batch * p.count; }

int64_t padded_flops(const Product& p, const Tile& t) {
  const int64_t straight = round_up(p.m, t.m) * round_up(p.n, t.n),
                swapped = round_up(p.m, t.n) * round_up(p.n, t.m);
  return 2 * std::min(straight, swapped) * round_up(p.k, t.k) * p.batch * p.count;
}

int64_t causal_pairs(int64_t lq, int64_t lk) { return lq * (lk - lq) + lq * (lq + 1) / 2; }

int64_t causal_tile_pairs(int64_t lq, int64_t lk, int64_t tile_q, int64_t tile_k) {
  int64_t pairs = 0;
  for (int64_t q = 0; q < lq; q += tile_q) {
    const int64_t last = std::min(q + tile_q, lq) - 1;  // sees the most keys of its tile
    pairs += tile_q * round_up(lk - lq + last + 1, tile_k);
  }
  return pairs;
}

std::vector<FlopRow> reconcile_flops(const StepBooks& work, const DeviceStep* traced,
                                     const CounterBooks& counted) {
  std::map<Key, FlopRow> rows;
  const auto row_of = [&](NameId op, NameId module, Phase phase) -> FlopRow& {
    return rows.try_emplace({op, module, phase}, FlopRow{op, module, phase}).first->second;
  };
  for (const WorkCell& w : work.work) {
    if (flops(w.cost) == 0) continue;
    FlopRow& row = row_of(w.op, w.module, w.phase);
    row.executed = flops(w.cost);
    row.needed = w.phase == Phase::recompute ? 0 : row.executed;
  }
  std::map<Key, const DeviceCell*> cells;
  if (traced)
    for (const DeviceCell& c : traced->cells) cells[{c.op, c.module, c.phase}] = &c;
  for (const CountedWork& w : counted.work) {
    FlopRow& row = row_of(w.op, w.module, w.phase);
    const bool any = w.tensor_bf16 || w.tensor_f16 || w.tensor_tf32;
    if (any && w.scalar)
      row.hardware =
          w.tensor_bf16.value_or(0) + w.tensor_f16.value_or(0) + w.tensor_tf32.value_or(0) + *w.scalar;
    const auto cell = cells.find({w.op, w.module, w.phase});
    row.reasons =
        reasons_for(row, cell == cells.end() ? nullptr : cell->second, traced, w, counted.half_weights_assumed);
    if (!row.hardware) continue;
    row.unexplained = *row.hardware - row.executed;
    for (const GapReason& r : row.reasons)
      if (r.flops && r.name != "recompute") *row.unexplained -= *r.flops;
  }
  std::vector<FlopRow> out;
  for (auto& [key, row] : rows) out.push_back(std::move(row));
  std::stable_sort(out.begin(), out.end(), [](const FlopRow& a, const FlopRow& b) {
    const auto names = [](const FlopRow& r) { return std::tuple(name_of(r.op), name_of(r.module), r.phase); };
    return a.executed != b.executed ? a.executed > b.executed : names(a) < names(b);
  });
  return out;
}

}  // namespace reckon::profiler
