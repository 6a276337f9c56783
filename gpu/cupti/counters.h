// Hardware counters through CUPTI's host interface (which metrics a chip has, how many passes they take, what a
// counter image means; needs no GPU) and its range profiler (needs one). Part of the CUDA plugin.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gpu/cupti/cupti_library.h"
#include "profiler/device_metrics.h"
#include "runtime/device_observer.h"

namespace reckon::profiler::cupti {

std::vector<std::string> supported_chips(const Library& library);

// The metrics of one chip, as CUPTI's tables have them.
class ChipMetrics {
 public:
  // `availability` (of the driver's making) says what this very device can count; empty: what the chip
  // can. Null with one line in *why.
  static std::unique_ptr<ChipMetrics> open(const Library& library, const std::string& chip,
                                           std::span<const uint8_t> availability, std::string* why);
  ~ChipMetrics();
  ChipMetrics(const ChipMetrics&) = delete;
  ChipMetrics& operator=(const ChipMetrics&) = delete;

  std::vector<std::string> counters() const;  // base metrics: without ".sum"
  // Adds metrics to count; once per object. False with one line in *why.
  bool configure(std::vector<std::string> metrics, std::string* why);
  const std::vector<std::string>& metrics() const { return metrics_; }
  const std::vector<uint8_t>& config_image() const { return config_; }
  int n_passes() const { return n_passes_; }
  // Of one range of a counter image, in the order of metrics(); empty when CUPTI refuses.
  std::vector<double> evaluate(std::span<const uint8_t> counters, size_t range) const;

 private:
  ChipMetrics(const Library& library, CUpti_Profiler_Host_Object* object)
      : library_(library), object_(object) {}

  const Library& library_;
  CUpti_Profiler_Host_Object* object_;
  std::vector<std::string> metrics_;
  std::vector<uint8_t> config_;
  int n_passes_ = 0;
};

// The counters of device `device`, whose context must be current. Null with one line in *why: no
// permission, a virtual GPU, a MIG slice, counters taken by another tool. `begin_op` and `end_op`
// mark ranges while a pass is open.
class RangeCounters : public DeviceCounters {
 public:
  static std::unique_ptr<RangeCounters> open(const Library& library, int device, std::string_view dtype,
                                             std::string* why);
  ~RangeCounters() override;

  std::string_view chip() const override { return chip_; }
  const std::vector<std::string>& metrics() const override { return host_->metrics(); }
  int n_passes() const override { return host_->n_passes(); }
  bool begin_pass(int64_t n_ranges, std::string* why) override;
  bool end_pass(std::string* why) override;
  bool complete() const override { return complete_; }
  std::vector<RangeValues> read(int64_t* n_dropped, std::string* why) override;

  bool in_pass() const { return in_pass_; }
  void begin_op(std::string_view op, std::string_view module, std::string_view phase);
  void end_op();

 private:
  RangeCounters(const Library& library, std::string chip, std::unique_ptr<ChipMetrics> host)
      : library_(library), chip_(std::move(chip)), host_(std::move(host)) {}
  bool enable(int64_t n_ranges, std::string* why);

  const Library& library_;
  std::string chip_;
  std::unique_ptr<ChipMetrics> host_;
  CUpti_RangeProfiler_Object* object_ = nullptr;
  std::vector<uint8_t> counters_;  // the image the passes write to
  bool in_pass_ = false, range_open_ = false, complete_ = false;
  int64_t n_marked_ = 0;  // in this pass
  CUptiResult first_failure_ = CUPTI_SUCCESS;
};

}  // namespace reckon::profiler::cupti
