// An ESTIMATE of what predicting a whole database costs: a histogram of sequence lengths, anchor times
// measured on one device, and a rule that scales them to another. Called by `reckon plan
// inference-cost` and by whoever draws it.
#pragma once

#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "calculators/table_file.h"

namespace reckon::calculators {

struct LengthBin {
  int64_t low = 0, high = 0, count = 0;  // lengths low..high, both included
};

struct AnchorTimes {
  std::string device;                              // where they were measured
  std::vector<std::pair<int64_t, double>> points;  // length, seconds per sequence; rising lengths

  double seconds_at(double length) const;  // log-log between the neighbours; Error outside
};

// A device the anchors are scaled to: time x (anchor peak / this peak).
struct ScaledDevice {
  std::string name;
  double peak_flops = 0;  // FLOP/s
};

struct InferenceCostQuestion {
  std::vector<LengthBin> bins;
  AnchorTimes anchors;
  double anchor_peak_flops = 0;
  std::vector<ScaledDevice> devices;
};
// MGnify's lengths, AlphaFold times on an A100, scaled to an H200 by its sparse and by its dense peak.
InferenceCostQuestion default_inference_cost();

struct DeviceCost {
  ScaledDevice device;
  double scale = 1;
  // Every sequence of a bin as long as the bin's shortest, middle and longest.
  double seconds_low = 0, seconds_middle = 0, seconds_high = 0;
};

struct BinCost {
  LengthBin bin;
  double seconds_each = 0;  // at the middle, on the anchor's device
  double seconds = 0;
};

struct InferenceCost {
  InferenceCostQuestion question;
  int64_t sequences = 0;
  std::vector<BinCost> bins;
  std::vector<DeviceCost> devices;  // the anchor's first
};
InferenceCost estimate_inference_cost(const InferenceCostQuestion& question);
double device_years(double seconds);  // of 365.25 days

// Columns "low,high,count" and "length,seconds".
std::vector<LengthBin> bins_from(const NumberTable& table);
AnchorTimes anchors_from(const NumberTable& table, std::string device);

void write_inference_cost(std::ostream& out, const InferenceCost& c);
nlohmann::ordered_json inference_cost_json(const InferenceCost& c);

}  // namespace reckon::calculators
