// An ESTIMATE of how long a training takes: stages of so many steps at a crop size, a measured step-time curve,
// a number of devices. Called by `reckon plan training-time` and by whoever draws it.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "calculators/table_file.h"

namespace reckon::calculators {

struct TrainingStage {
  int64_t steps = 0, size = 0;  // size: tokens or residues of the crop
};

struct StepTimeCurve {
  std::string name;
  std::vector<std::pair<int64_t, double>> points;  // size, seconds of a step; rising sizes
  int64_t out_of_memory_from = 0;                  // sizes from here on do not fit; 0: unknown

  // Log-log interpolation between the neighbours; none beyond the curve's ends.
  std::optional<double> seconds_at(int64_t size) const;
};

struct TrainingTimeQuestion {
  std::vector<TrainingStage> stages;
  std::vector<StepTimeCurve> curves;
  int64_t devices = 256;
  // A step time stated for one size; each curve is also scaled so that it passes through it.
  std::optional<std::pair<int64_t, double>> base;
};
// The published stages, curves and base of AF3-style training on one H200 that the figures use.
TrainingTimeQuestion default_training_time();

struct StageTime {
  TrainingStage stage;
  std::optional<double> step_seconds;  // none: out of memory, or outside the curve
  std::string why_none;
  double seconds = 0;  // of the stage; 0 when there is no step time
};

struct TrainingTime {
  std::string name;  // of the curve; "... through the base" for a scaled one
  double scale = 1;  // all times of the curve times this
  std::vector<StageTime> stages;
  bool complete = true;  // every stage has a step time
  double seconds = 0;    // sum over stages that have one
  double device_hours = 0;
  double days() const { return seconds / 86400; }
};

struct TrainingTimeEstimate {
  TrainingTimeQuestion question;
  std::vector<TrainingTime> results;
  std::vector<std::string> contradictions;  // of the base with the curves
};
TrainingTimeEstimate estimate_training_time(const TrainingTimeQuestion& question);

// Columns "steps,size" and "size,seconds".
std::vector<TrainingStage> stages_from(const NumberTable& table);
StepTimeCurve curve_from(const NumberTable& table, std::string name);

void write_training_time(std::ostream& out, const TrainingTimeEstimate& e);
nlohmann::ordered_json training_time_json(const TrainingTimeEstimate& e);

}  // namespace reckon::calculators
