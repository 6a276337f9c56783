#include "profiler/device_join.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_map>

namespace reckon::profiler {
namespace {

struct Seen {
  int64_t own = 0, library = 0, copies = 0, sets = 0, ns = 0, untimed = 0;
};

constexpr int64_t kAmbiguous = -1;

std::unordered_map<uint32_t, int64_t> calls_by_correlation(const Activity& activity, int64_t& n_ambiguous) {
  std::unordered_map<uint32_t, int64_t> call_of;
  call_of.reserve(activity.correlations.size());
  for (const CorrelationRecord& r : activity.correlations) {
    // One API call may be recorded twice, by the runtime library and by the driver: both name the same op.
    const auto [at, first] = call_of.try_emplace(r.correlation, r.call);
    if (first || at->second == r.call || at->second == kAmbiguous) continue;
    at->second = kAmbiguous;
    ++n_ambiguous;
  }
  return call_of;
}

template <class Record>
bool timed(const Record& r) {
  return r.start_ns != 0 && r.end_ns != 0 && r.end_ns >= r.start_ns;
}

std::string_view name_of_copy(CopyKind k) {
  switch (k) {
    case CopyKind::to_device:
      return "copy from the host";
    case CopyKind::to_host:
      return "copy to the host";
    case CopyKind::on_device:
      return "copy on the device";
    case CopyKind::other:
      break;
  }
  return "copy of another kind";
}

// Time in which at least one of the intervals holds.
int64_t covered(std::vector<std::pair<int64_t, int64_t>>& intervals) {
  std::sort(intervals.begin(), intervals.end());
  int64_t sum = 0, end = 0;
  for (const auto& [a, b] : intervals) {
    if (b <= end) continue;
    sum += b - std::max(a, end);
    end = b;
  }
  return sum;
}

class Join {
 public:
  Join(const Activity& activity, std::span<const CallRow> calls)
      : activity_(activity), calls_(calls), seen_(calls.size()), ran_(calls.size()) {}

  DeviceStep run(int64_t step) {
    out_.step = step;
    out_.n_dropped = activity_.n_dropped;
    out_.n_damaged = activity_.n_damaged;
    out_.n_unknown = activity_.n_unknown;
    call_of_ = calls_by_correlation(activity_, out_.n_ambiguous);
    for (const KernelRecord& k : activity_.kernels) file_kernel(k);
    for (const CopyRecord& c : activity_.copies)
      file(c, c.bytes, name_of_copy(c.kind), [](Seen& s) { ++s.copies; });
    for (const SetRecord& s : activity_.sets)
      file(s, s.bytes, "set of memory", [](Seen& seen) { ++seen.sets; });
    write_cells();
    write_lists();
    out_.busy_ns = covered(intervals_);
    return std::move(out_);
  }

 private:
  // Index of the op call that made this API call; -1 when none is known.
  int64_t row_of(uint32_t correlation) const {
    const auto found = call_of_.find(correlation);
    if (found == call_of_.end()) return -1;
    const auto row = std::lower_bound(calls_.begin(), calls_.end(), found->second,
                                      [](const CallRow& r, int64_t call) { return r.call < call; });
    return row != calls_.end() && row->call == found->second ? row - calls_.begin() : -1;
  }

  template <class Record, class Count>
  int64_t file(const Record& r, int64_t bytes, std::string_view what, Count&& count) {
    const bool has_time = timed(r);
    const int64_t ns = has_time ? r.end_ns - r.start_ns : 0;
    if (has_time) intervals_.emplace_back(r.start_ns, r.end_ns);
    const int64_t row = row_of(r.correlation);
    if (row >= 0) {
      Seen& s = seen_[static_cast<size_t>(row)];
      count(s);
      s.ns += ns;
      s.untimed += !has_time;
    } else {
      UnfiledLine& line = unfiled_[std::string(what)];
      ++line.count;
      line.bytes += bytes;
      line.device_ns += ns;
      line.untimed += !has_time;
    }
    return row;
  }

  void file_kernel(const KernelRecord& k) {
    const std::string& name = activity_.names[static_cast<size_t>(k.name)];
    const bool own = is_own_kernel(name);
    const int64_t row = file(k, 0, name.empty() ? "kernel without a name" : name,
                             [own](Seen& s) { ++(own ? s.own : s.library); });
    KernelLine& line = lines_[k.name];
    line.own = own;
    ++line.count;
    if (timed(k))
      line.device_ns += k.end_ns - k.start_ns;
    else
      ++line.untimed;
    if (row >= 0) ran_[static_cast<size_t>(row)].push_back(k.name);
  }

  void write_cells() {
    std::map<std::tuple<NameId, NameId, Phase>, size_t> at;
    std::vector<size_t> cell_of(calls_.size());
    for (size_t i = 0; i < calls_.size(); ++i) {
      const CallRow& call = calls_[i];
      const auto [place, first] = at.try_emplace({call.op, call.module, call.phase}, out_.cells.size());
      if (first) out_.cells.push_back({.op = call.op, .module = call.module, .phase = call.phase});
      cell_of[i] = place->second;
      DeviceCell& cell = out_.cells[place->second];
      const Seen& s = seen_[i];
      ++cell.calls;
      for (size_t k = 0; k < kLaunchKinds; ++k) cell.announced[k] += call.announced[k];
      cell.own_kernels += s.own;
      cell.library_kernels += s.library;
      cell.copies += s.copies;
      cell.sets += s.sets;
      cell.device_ns += s.ns;
      cell.untimed += s.untimed;
      cell.calls_that_differ += !launches_agree(call.announced, s.own, s.copies, s.sets);
      cell.kernels.insert(cell.kernels.end(), ran_[i].begin(), ran_[i].end());
    }
    for (const ProductRecord& p : activity_.products) {
      const auto row = std::lower_bound(calls_.begin(), calls_.end(), p.call,
                                        [](const CallRow& r, int64_t call) { return r.call < call; });
      if (row == calls_.end() || row->call != p.call) continue;
      std::vector<Product>& list = out_.cells[cell_of[static_cast<size_t>(row - calls_.begin())]].products;
      const auto same = std::find_if(list.begin(), list.end(), [&](const Product& q) {
        return q.m == p.m && q.n == p.n && q.k == p.k && q.batch == p.batch;
      });
      if (same != list.end())
        ++same->count;
      else
        list.push_back({p.m, p.n, p.k, p.batch, 1});
    }
  }

  // Names become positions in a table that is sorted by time.
  void write_lists() {
    std::vector<std::pair<int32_t, KernelLine>> order(lines_.begin(), lines_.end());
    for (auto& [name, line] : order) line.name = activity_.names[static_cast<size_t>(name)];
    std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
      return a.second.device_ns != b.second.device_ns ? a.second.device_ns > b.second.device_ns
                                                      : a.second.name < b.second.name;
    });
    std::unordered_map<int32_t, int32_t> place;
    for (const auto& [name, line] : order) {
      place[name] = static_cast<int32_t>(out_.kernels.size());
      out_.kernels.push_back(line);
    }
    for (DeviceCell& cell : out_.cells) {
      for (int32_t& k : cell.kernels) k = place[k];
      std::sort(cell.kernels.begin(), cell.kernels.end());
      cell.kernels.erase(std::unique(cell.kernels.begin(), cell.kernels.end()), cell.kernels.end());
    }
    for (auto& [what, line] : unfiled_) {
      line.what = what;
      out_.unfiled.push_back(line);
    }
    std::stable_sort(out_.unfiled.begin(), out_.unfiled.end(),
                     [](const UnfiledLine& a, const UnfiledLine& b) { return a.device_ns > b.device_ns; });
    std::stable_sort(out_.cells.begin(), out_.cells.end(), [](const DeviceCell& a, const DeviceCell& b) {
      const auto names = [](const DeviceCell& c) {
        return std::tuple(name_of(c.op), name_of(c.module), c.phase);
      };
      return a.device_ns != b.device_ns ? a.device_ns > b.device_ns : names(a) < names(b);
    });
  }

  const Activity& activity_;
  std::span<const CallRow> calls_;
  std::vector<Seen> seen_;                 // by row
  std::vector<std::vector<int32_t>> ran_;  // by row: names of its kernels
  std::unordered_map<uint32_t, int64_t> call_of_;
  std::unordered_map<int32_t, KernelLine> lines_;
  std::map<std::string, UnfiledLine> unfiled_;
  std::vector<std::pair<int64_t, int64_t>> intervals_;
  DeviceStep out_;
};

}  // namespace

bool is_own_kernel(std::string_view name) {
  return name.find("6reckon3ops3gpu") != std::string_view::npos ||
         name.find("reckon::ops::gpu::") != std::string_view::npos;
}

bool launches_agree(const std::array<int64_t, kLaunchKinds>& announced, int64_t own_kernels, int64_t copies,
                    int64_t sets) {
  const int64_t kernels = announced[static_cast<size_t>(LaunchKind::kernel)];
  const int64_t moves =
      announced[static_cast<size_t>(LaunchKind::fill)] + announced[static_cast<size_t>(LaunchKind::copy)];
  const int64_t by_driver = kernels + moves - own_kernels;
  if (by_driver < 0) return announced[static_cast<size_t>(LaunchKind::library)] > 0;
  return by_driver <= std::min(moves, copies + sets);
}

DeviceStep join(const Activity& activity, std::span<const CallRow> calls, int64_t step) {
  return Join(activity, calls).run(step);
}

}  // namespace reckon::profiler
