// reckon plan training-time, reckon plan inference-cost: named estimates from tables.
#include <iostream>
#include <memory>

#include "calculators/devices.h"
#include "calculators/quantity.h"
#include "cli/commands.h"
#include "profiler/file.h"
#include "runtime/core/error.h"
#include "studies/inference_cost.h"
#include "studies/training_time.h"

namespace reckon::cli {
namespace {

using namespace calculators;

// "14.82@384": seconds at a size.
std::pair<int64_t, double> parse_base(const std::string& text) {
  const size_t at = text.find('@');
  RECKON_CHECK(at != std::string::npos, "--base '{}' must be seconds@size, such as 14.82@384, or none", text);
  return {parse_whole(text.substr(at + 1), "--base"), parse_seconds(text.substr(0, at), "--base")};
}

void add_training_time(CLI::App& plan) {
  struct Flags {
    std::string stages, curve, base, json;
    int64_t devices = 256;
  };
  auto f = std::make_shared<Flags>();
  CLI::App* c = plan.add_subcommand("training-time",
                                    "ESTIMATE: days and device hours of a staged training from a step-time "
                                    "curve; defaults: AF3-style training on one H200 per sample");
  c->add_option(
      "--stages", f->stages,
      "CSV or JSON with the columns steps,size; default: 74250 x 384, 1750 x 640, 250 x 768, 1750 x 768");
  c->add_option("--curve", f->curve,
                "CSV or JSON with the columns size,seconds (of one step); default: the measured eager, "
                "inductor and MegaFold curves");
  c->add_option("--devices", f->devices, "Devices that take every step together")->capture_default_str();
  c->add_option("--base", f->base,
                "A step time stated for one size, such as 14.82@384 (seconds@size), or none; default: "
                "14.82@384 with the default curves");
  c->add_option("--json", f->json, "Also write everything to this file");
  c->callback([f] {
    TrainingTimeQuestion q = default_training_time();
    if (!f->stages.empty()) q.stages = stages_from(read_number_table(f->stages, {"steps", "size"}));
    if (!f->curve.empty()) {
      q.curves = {curve_from(read_number_table(f->curve, {"size", "seconds"}), f->curve)};
      q.base.reset();
    }
    if (f->base == "none")
      q.base.reset();
    else if (!f->base.empty())
      q.base = parse_base(f->base);
    q.devices = f->devices;
    const TrainingTimeEstimate e = estimate_training_time(q);
    if (!f->json.empty()) profiler::write_file(f->json, training_time_json(e).dump(1) + "\n");
    write_training_time(std::cout, e);
  });
}

void add_inference_cost(CLI::App& plan) {
  struct Flags {
    std::string histogram, anchors, anchor_device = "A100", anchor_peak, json;
    std::vector<std::string> devices;
  };
  auto f = std::make_shared<Flags>();
  CLI::App* c = plan.add_subcommand("inference-cost",
                                    "ESTIMATE: device years to predict every sequence of a length histogram; "
                                    "defaults: MGnify, A100 times, scaled to an H200");
  c->add_option(
      "--histogram", f->histogram,
      "CSV or JSON with the columns low,high,count (lengths low to high); default: MGnify 200 to 1099");
  c->add_option("--anchors", f->anchors,
                "CSV or JSON with the columns length,seconds (per sequence); default: times on an A100");
  c->add_option(
       "--anchor-device", f->anchor_device,
       "Where the anchors were measured: A100, H100, H200, RTX4090, TPUv3-core, or any name with --anchor-peak")
      ->capture_default_str();
  c->add_option("--anchor-peak", f->anchor_peak,
                "FLOP/s of that device, such as '312 TFLOP/s'; default: its published dense bf16 peak");
  c->add_option("--to", f->devices,
                "Devices to scale to by the ratio of peaks: known names (their sparse and dense peaks are both "
                "shown), or NAME=FLOP/s; default: H200");
  c->add_option("--json", f->json, "Also write everything to this file");
  c->callback([f] {
    InferenceCostQuestion q = default_inference_cost();
    if (!f->histogram.empty()) q.bins = bins_from(read_number_table(f->histogram, {"low", "high", "count"}));
    if (!f->anchors.empty())
      q.anchors = anchors_from(read_number_table(f->anchors, {"length", "seconds"}), f->anchor_device);
    q.anchors.device = f->anchor_device;
    q.anchor_peak_flops = f->anchor_peak.empty() ? device_named(f->anchor_device).dense_bf16
                                                 : parse_flops(f->anchor_peak, "--anchor-peak");
    if (!f->devices.empty()) q.devices.clear();
    for (const std::string& text : f->devices) {
      const size_t equals = text.find('=');
      if (equals != std::string::npos) {
        q.devices.push_back({text.substr(0, equals), parse_flops(text.substr(equals + 1), "--to")});
        continue;
      }
      const KnownDevice& d = device_named(text);
      if (d.sparse_bf16 > 0) q.devices.push_back({fmt::format("{} by its sparse peak", d.name), d.sparse_bf16});
      q.devices.push_back({fmt::format("{} by its dense peak", d.name), d.dense_bf16});
    }
    const InferenceCost cost = estimate_inference_cost(q);
    if (!f->json.empty()) profiler::write_file(f->json, inference_cost_json(cost).dump(1) + "\n");
    write_inference_cost(std::cout, cost);
  });
}

}  // namespace

void add_estimates(CLI::App& plan) {
  add_training_time(plan);
  add_inference_cost(plan);
}

}  // namespace reckon::cli
