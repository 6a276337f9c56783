#include "studies/inference_cost.h"

#include <algorithm>
#include <cmath>

#include "calculators/devices.h"
#include "profiler/table.h"
#include "runtime/core/error.h"
#include "runtime/core/exact.h"
#include "runtime/core/format.h"

namespace reckon::calculators {

double AnchorTimes::seconds_at(double length) const {
  RECKON_CHECK(!points.empty(), "the anchor table is empty");
  for (size_t i = 0; i < points.size(); ++i) {
    if (static_cast<double>(points[i].first) == length) return points[i].second;
    if (i + 1 == points.size() || length < static_cast<double>(points[i].first) ||
        length > static_cast<double>(points[i + 1].first))
      continue;
    const double x0 = std::log(static_cast<double>(points[i].first)),
                 x1 = std::log(static_cast<double>(points[i + 1].first));
    return points[i].second *
           std::pow(points[i + 1].second / points[i].second, (std::log(length) - x0) / (x1 - x0));
  }
  raise_error(fmt::format("length {} is outside the anchor times ({} to {}): add an anchor", length,
                          points.front().first, points.back().first));
}

InferenceCostQuestion default_inference_cost() {
  InferenceCostQuestion q;
  q.bins = {{200, 299, 106232237}, {300, 399, 43382930}, {400, 499, 21212845},
            {500, 599, 10100177},  {600, 699, 5679747},  {700, 799, 3390077},
            {800, 899, 2195438},   {900, 999, 1330801},  {1000, 1099, 969374}};
  q.anchors = {"A100",
               {{100, 4.9},
                {200, 7.7},
                {300, 13},
                {400, 18},
                {500, 29},
                {600, 36},
                {700, 53},
                {800, 60},
                {900, 91},
                {1000, 96},
                {1100, 140},
                {1500, 280},
                {2000, 450}}};
  const KnownDevice &from = device_named("A100"), &to = device_named("H200");
  q.anchor_peak_flops = from.dense_bf16;
  q.devices = {{"H200 by its sparse peak", to.sparse_bf16}, {"H200 by its dense peak", to.dense_bf16}};
  return q;
}

double device_years(double seconds) { return seconds / (365.25 * 86400); }

InferenceCost estimate_inference_cost(const InferenceCostQuestion& q) {
  RECKON_CHECK(!q.bins.empty(), "the histogram is empty: there is no sequence to predict");
  RECKON_CHECK(!q.anchors.points.empty(), "the anchor table is empty");
  RECKON_CHECK(std::isfinite(q.anchor_peak_flops) && q.anchor_peak_flops > 0,
               "the anchors' peak must be a positive rate, got {}", q.anchor_peak_flops);
  for (size_t i = 0; i < q.anchors.points.size(); ++i) {
    const auto& [length, seconds] = q.anchors.points[i];
    RECKON_CHECK(length >= 1 && std::isfinite(seconds) && seconds > 0,
                 "anchor times must be positive, got {}: {}", length, seconds);
    RECKON_CHECK(i == 0 || q.anchors.points[i - 1].first < length, "anchor lengths must rise, got {} after {}",
                 length, i ? q.anchors.points[i - 1].first : 0);
  }
  InferenceCost c;
  c.question = q;
  Exact sequences = 0;
  DeviceCost base{{q.anchors.device, q.anchor_peak_flops}, 1, 0, 0, 0};
  int64_t before = 0;
  for (const LengthBin& b : q.bins) {
    RECKON_CHECK(b.low >= 1 && b.high >= b.low && b.count >= 0,
                 "a bin must go from a length of at least 1 to one not below it with a count of at least 0, "
                 "got {}-{}: {}",
                 b.low, b.high, b.count);
    RECKON_CHECK(b.low > before, "bins must rise and not overlap: {}-{} comes after one that ends at {}", b.low,
                 b.high, before);
    before = b.high;
    sequences += b.count;
    const auto n = static_cast<double>(b.count);
    const double each = q.anchors.seconds_at((static_cast<double>(b.low) + static_cast<double>(b.high)) / 2);
    c.bins.push_back({b, each, each * n});
    base.seconds_low += n * q.anchors.seconds_at(static_cast<double>(b.low));
    base.seconds_middle += n * each;
    base.seconds_high += n * q.anchors.seconds_at(static_cast<double>(b.high));
  }
  c.sequences = sequences.to_int64("number of sequences");
  RECKON_CHECK(c.sequences > 0, "the histogram is empty: all counts are 0");
  c.devices.push_back(base);
  for (const ScaledDevice& d : q.devices) {
    RECKON_CHECK(std::isfinite(d.peak_flops) && d.peak_flops > 0,
                 "{}: the peak must be a positive rate, got {}", d.name, d.peak_flops);
    const double scale = q.anchor_peak_flops / d.peak_flops;
    c.devices.push_back(
        {d, scale, base.seconds_low * scale, base.seconds_middle * scale, base.seconds_high * scale});
  }
  return c;
}

std::vector<LengthBin> bins_from(const NumberTable& t) {
  std::vector<LengthBin> out;
  for (size_t i = 0; i < t.rows.size(); ++i)
    out.push_back({whole_number(t.rows[i][0], 1, "low", t.places[i]),
                   whole_number(t.rows[i][1], 1, "high", t.places[i]),
                   whole_number(t.rows[i][2], 0, "count", t.places[i])});
  std::sort(out.begin(), out.end(), [](const LengthBin& a, const LengthBin& b) { return a.low < b.low; });
  return out;
}

AnchorTimes anchors_from(const NumberTable& t, std::string device) {
  AnchorTimes a;
  a.device = std::move(device);
  for (size_t i = 0; i < t.rows.size(); ++i) {
    RECKON_CHECK(t.rows[i][1] > 0, "{}: seconds must be positive, got {}", t.places[i], t.rows[i][1]);
    a.points.emplace_back(whole_number(t.rows[i][0], 1, "length", t.places[i]), t.rows[i][1]);
  }
  std::sort(a.points.begin(), a.points.end());
  return a;
}

void write_inference_cost(std::ostream& out, const InferenceCost& c) {
  const InferenceCostQuestion& q = c.question;
  out << fmt::format("ESTIMATE of inference cost: {} sequences, each at the anchor time of its length\n",
                     format_count(c.sequences));
  std::vector<std::string> points;
  for (const auto& [length, seconds] : q.anchors.points)
    points.push_back(fmt::format("{}: {:g}", length, seconds));
  out << fmt::format("  constants: seconds per sequence on {} by length: {};\n", q.anchors.device,
                     fmt::join(points, ", "))
      << fmt::format(
             "  log-log between anchors; other devices by the ratio of peaks, {} = {:g} TFLOP/s: as if they "
             "reached the same share of their peak\n\n",
             q.anchors.device, q.anchor_peak_flops / 1e12);
  profiler::Table bins("rrrrr", {"lengths", "sequences", "seconds each", q.anchors.device + " years", "share"});
  for (const BinCost& b : c.bins)
    bins.row({fmt::format("{}-{}", b.bin.low, b.bin.high), format_count(b.bin.count),
              fmt::format("{:.2f}", b.seconds_each), fmt::format("{:.2f}", device_years(b.seconds)),
              fmt::format("{:.1f} %", 100 * b.seconds / c.devices[0].seconds_middle)});
  bins.print(out);
  out << "\nDevice years, with every bin at its middle (and at its shortest and longest)\n";
  profiler::Table t("lrrrrr", {"device", "peak [TFLOP/s]", "time scale", "device years", "at the shortest",
                               "at the longest"});
  for (const DeviceCost& d : c.devices)
    t.row({d.device.name, fmt::format("{:g}", d.device.peak_flops / 1e12), fmt::format("{:.4f}", d.scale),
           fmt::format("{:.2f}", device_years(d.seconds_middle)),
           fmt::format("{:.2f}", device_years(d.seconds_low)),
           fmt::format("{:.2f}", device_years(d.seconds_high))});
  t.print(out);
  out << "A sparse peak holds for matrices with 2:4 structured zeros; these models have none, so the dense row "
         "is the one to use.\n";
}

nlohmann::ordered_json inference_cost_json(const InferenceCost& c) {
  using Json = nlohmann::ordered_json;
  Json j{{"estimate", true},
         {"sequences", c.sequences},
         {"anchor_device", c.question.anchors.device},
         {"anchor_peak_flops", c.question.anchor_peak_flops}};
  for (const auto& [length, seconds] : c.question.anchors.points)
    j["anchors"].push_back({{"length", length}, {"seconds", seconds}});
  for (const BinCost& b : c.bins)
    j["bins"].push_back({{"low", b.bin.low},
                         {"high", b.bin.high},
                         {"count", b.bin.count},
                         {"seconds_each", b.seconds_each},
                         {"seconds", b.seconds}});
  for (const DeviceCost& d : c.devices)
    j["devices"].push_back({{"name", d.device.name},
                            {"peak_flops", d.device.peak_flops},
                            {"scale", d.scale},
                            {"seconds", d.seconds_middle},
                            {"seconds_low", d.seconds_low},
                            {"seconds_high", d.seconds_high},
                            {"device_years", device_years(d.seconds_middle)}});
  return j;
}

}  // namespace reckon::calculators
