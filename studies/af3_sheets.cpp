#include "studies/af3_sheets.h"

#include <fmt/format.h>

#include <cmath>

#include "calculators/dry_run.h"
#include "models/af3/config.h"
#include "studies/af3_figures.h"
#include "studies/af3_figures_data.h"
#include "studies/chart.h"
#include "studies/inference_cost.h"
#include "studies/training_time.h"

namespace reckon::cli {
namespace {

using profiler::Columns;
using profiler::Json;

// Published values: figures of AF3-style training on one H200, GB of 1e9 bytes; those of the memory and time
// curves were read off plots by their author.
struct PublishedBar {
  int64_t tokens;
  double transition, attention, other, total;
};
constexpr PublishedBar kBars[] = {{64, 4.93, 5.96, 6.91, 17.8},
                                  {96, 8.56, 11.7, 13.24, 33.5},
                                  {128, 12.9, 19.4, 20.4, 52.7},
                                  {160, 18.4, 30.3, 28.5, 77.2},
                                  {192, 24.4, 44.5, 38.5, 107.4}};
constexpr double kPublishedWeights = 3.1, kPublishedGradients = 3.1, kPublishedOptimizer = 4.08;
constexpr double kCard = 141.4;
struct PublishedPeak {
  int64_t tokens;
  double eager, megafold;  // eager 0: out of memory
};
constexpr PublishedPeak kPeaks[] = {{128, 22, 22}, {256, 40, 37}, {384, 61, 52},
                                    {512, 95, 78}, {640, 0, 109}, {768, 0, 139}};
struct PublishedTime {
  int64_t tokens;
  double eager, megafold;  // seconds
};
constexpr PublishedTime kTimes[] = {{128, 6.6, 3.7},  {256, 8.1, 4.6}, {384, 10.5, 6.8},
                                    {512, 14.7, 8.5}, {640, 0, 13.2},  {768, 0, 17.8}};
// Data sheet of the card: dense bf16 products and memory.
constexpr double kPeakFlops = 989e12, kBandwidth = 4.8e12;
constexpr const char* kFusedOps = "attention,norm-linear,transition";

double gb(int64_t bytes) { return static_cast<double>(bytes) / 1e9; }

const std::vector<Af3ActivationBar>& activation_bars() {
  static const std::vector<Af3ActivationBar> bars = [] {
    std::vector<int64_t> tokens;
    for (const PublishedBar& b : kBars) tokens.push_back(b.tokens);
    return af3_activation_bars(tokens);
  }();
  return bars;
}

// Two figures read these dry runs, which are most of the time.
const std::vector<Af3PeakPoint>& checkpointed_points() {
  static const std::vector<Af3PeakPoint> points = [] {
    std::vector<int64_t> tokens;
    for (const PublishedPeak& p : kPeaks) tokens.push_back(p.tokens);
    return af3_checkpointed_peaks(tokens);
  }();
  return points;
}

// One published value beside ours.
struct GbRow {
  int64_t tokens = 0;
  std::string part;
  std::optional<double> published;
  double ours = 0;
};
Columns<GbRow> gb_columns(std::string part) {
  return {
      {"tokens", &GbRow::tokens},
      {std::move(part), &GbRow::part},
      {"published GB", &GbRow::published},
      {"ours GB", &GbRow::ours},
      deviation_column("deviation %", &GbRow::ours, &GbRow::published),
  };
}

// A published value that may be missing because the run did not fit.
template <class T>
Columns<T> published_column(std::string name, std::optional<double> T::*value) {
  return {std::move(name),
          [value](const T& row) { return row.*value ? Json(*(row.*value)) : Json("out of memory"); }};
}

std::optional<double> known(double published) {
  return published > 0 ? std::optional(published) : std::nullopt;
}

Sheet activation_sheet() {
  Sheet s;
  s.id = "activations_by_operator";
  s.title = "Activations kept for backward by operator family";
  s.how =
      "Dry runs of the af3 preset without checkpoints or fusion: 48 augmentations in chunks of 4, 3 recycles, "
      "4 templates, 800 alignment rows, 5 atoms per "
      "token, no confidence head, trunk in bf16 and the rest in f32. GB are 1e9 bytes.";
  std::vector<GbRow> rows;
  StackedBars chart{s.title, "GB kept for backward", {"transition", "attention", "other"}, {}};
  const std::vector<Af3ActivationBar>& bars = activation_bars();
  for (size_t i = 0; i < bars.size(); ++i) {
    const PublishedBar& p = kBars[i];
    const Af3ActivationBar& o = bars[i];
    rows.push_back({o.tokens, "transition", p.transition, gb(o.transition)});
    rows.push_back({o.tokens, "attention", p.attention, gb(o.attention)});
    rows.push_back({o.tokens, "other", p.other, gb(o.other)});
    rows.push_back({o.tokens, "total", p.total, gb(o.total())});
    chart.bars.push_back({std::to_string(o.tokens), "pub.", {p.transition, p.attention, p.other}});
    chart.bars.push_back({std::to_string(o.tokens), "ours", {gb(o.transition), gb(o.attention), gb(o.other)}});
  }
  s.fill(gb_columns("family"), rows);
  s.svg = to_svg(chart);
  s.notes = {
      "Alignment rows and atoms per token are not in the published setting and were chosen; docs/af3.md says "
      "what other choices give."};
  return s;
}

Sheet category_sheet() {
  Sheet s;
  s.id = "memory_by_category";
  s.title = "Memory by category";
  s.how =
      "The dry runs of the activation bars; weights, gradients and Adam's moments with those of the confidence "
      "head (508.9 M parameters), all in f32. GB are 1e9 bytes.";
  std::vector<GbRow> rows;
  StackedBars chart{s.title, "GB", {"activations", "weights", "gradients", "optimizer"}, {}};
  models::RunOptions whole = models::af3::activation_step(kBars[0].tokens);
  whole.own<models::af3::StepOptions>().confidence = true;  // its weights are trained too
  whole.steps = 2;                                          // the optimizer's state is there from the second on
  const profiler::Ledger ledger = calculators::dry_run(whole).ledger;
  const auto most = [&](Category c) {
    return ledger.books().for_memory().max_by_category[static_cast<size_t>(c)];
  };
  const std::vector<Af3ActivationBar>& bars = activation_bars();
  for (size_t i = 0; i < bars.size(); ++i) {
    const PublishedBar& p = kBars[i];
    const int64_t kept = bars[i].total();
    const std::vector<GbRow> parts{{p.tokens, "activations", p.total, gb(kept)},
                                   {p.tokens, "weights", kPublishedWeights, gb(most(Category::parameter))},
                                   {p.tokens, "gradients", kPublishedGradients, gb(most(Category::gradient))},
                                   {p.tokens, "optimizer", kPublishedOptimizer, gb(most(Category::optimizer))}};
    rows.insert(rows.end(), parts.begin(), parts.end());
    Bar published{std::to_string(p.tokens), "pub.", {}}, ours{std::to_string(p.tokens), "ours", {}};
    for (const GbRow& part : parts) {
      published.pieces.push_back(*part.published);
      ours.pieces.push_back(part.ours);
    }
    chart.bars.push_back(published);
    chart.bars.push_back(ours);
  }
  s.fill(gb_columns("category"), rows);
  s.svg = to_svg(chart);
  s.notes = {
      "The published 3.1 GB of weights and of gradients are marked as estimates by their author: 508.9 M "
      "parameters in f32 are 2.04 GB, and 3.05 GB would "
      "be f32 with a bf16 copy of every parameter."};
  return s;
}

Sheet event_sheet() {
  Sheet s;
  s.id = "operator_events";
  s.title = "Operator events of one step";
  s.how =
      "Op calls of one dry run under a framework's view: 3 recycles, all checkpoints, 49 augmentations in 13 "
      "chunks, 4 templates, a rollout of 39 network calls; "
      "linear layers under autocast are listed twice.";
  const profiler::FrameworkEvents e = af3_operator_events();
  struct EventRow {
    std::string event;
    int64_t published = 0, ours = 0;
  };
  const std::vector<EventRow> rows{{"aten::linear", 37538, e.linear},
                                   {"aten::layer_norm", 13225, e.native_layer_norm},
                                   {"aten::native_layer_norm", 12686, e.native_layer_norm},
                                   {"aten::sigmoid", 10903, e.sigmoid},
                                   {"aten::silu", 2601, e.silu}};
  s.fill({{"event", &EventRow::event},
          {"published", &EventRow::published},
          {"ours", &EventRow::ours},
          {"difference", [](const EventRow& r) { return r.ours - r.published; }},
          {"deviation %",
           [](const EventRow& r) {
             return deviation(static_cast<double>(r.ours), static_cast<double>(r.published));
           }}},
         rows);
  StackedBars chart{s.title, "events", {"events"}, {}};
  for (const EventRow& r : rows) {
    const std::string name = r.event.substr(std::string_view("aten::").size());
    chart.bars.push_back({name, "pub.", {static_cast<double>(r.published)}});
    chart.bars.push_back({name, "ours", {static_cast<double>(r.ours)}});
  }
  s.svg = to_svg(chart);
  s.notes = {fmt::format("{} calls of linear layers were made; wrapper and inner event of those under autocast "
                         "give the listed number.",
                         e.linear_calls),
             "The wrapper layer_norm is listed 539 times more often than its inner event in the published "
             "profile; no rule is known that gives this number."};
  return s;
}

Sheet peak_sheet() {
  Sheet s;
  s.id = "memory_curves";
  s.title = "Peak memory of a step with checkpoints";
  s.how = fmt::format(
      "Dry runs of two steps with block checkpoints: 48 augmentations, 3 recycles, 500 alignment rows, 7 atoms "
      "per token; fused: {}; everything on: every fused op, "
      "16-bit products in every part, hoisted conditioner, backward per chunk, 1,000 alignment rows. Requested "
      "bytes; GB are 1e9 bytes; the card has {} GB.",
      kFusedOps, kCard);
  struct PeakRow {
    int64_t tokens = 0;
    std::optional<double> published_eager, published_fused;
    double eager = 0, fused = 0, eager_hoisted = 0, fused_hoisted = 0, smallest = 0;
  };
  std::vector<PeakRow> rows;
  LineChart chart{s.title, "tokens", "peak GB", {}, {}, kCard, fmt::format("{} GB card", kCard)};
  chart.lines = {{"eager, published", {}, true},
                 {"MegaFold, published", {}, true},
                 {"eager", {}},
                 {"fused", {}},
                 {"fused, hoisted", {}},
                 {"everything on", {}}};
  const std::vector<Af3PeakPoint>& points = checkpointed_points();
  for (size_t i = 0; i < points.size(); ++i) {
    const PublishedPeak& p = kPeaks[i];
    const Af3PeakPoint& o = points[i];
    rows.push_back({o.tokens, known(p.eager), p.megafold, gb(o.eager), gb(o.fused), gb(o.eager_hoisted),
                    gb(o.fused_hoisted), gb(o.smallest)});
    chart.x.push_back(static_cast<double>(o.tokens));
    chart.lines[0].values.push_back(known(p.eager));
    chart.lines[1].values.push_back(p.megafold);
    chart.lines[2].values.push_back(gb(o.eager));
    chart.lines[3].values.push_back(gb(o.fused));
    chart.lines[4].values.push_back(gb(o.fused_hoisted));
    chart.lines[5].values.push_back(gb(o.smallest));
  }
  s.fill({{"tokens", &PeakRow::tokens},
          published_column("published eager GB", &PeakRow::published_eager),
          {"ours eager GB", &PeakRow::eager},
          deviation_column("eager deviation %", &PeakRow::eager, &PeakRow::published_eager),
          {"published fused GB", &PeakRow::published_fused},
          {"ours fused GB", &PeakRow::fused},
          deviation_column("fused deviation %", &PeakRow::fused, &PeakRow::published_fused),
          {"ours eager, hoisted GB", &PeakRow::eager_hoisted},
          {"ours fused, hoisted GB", &PeakRow::fused_hoisted},
          {"ours everything on GB", &PeakRow::smallest},
          {"eager fits the card", [](const PeakRow& r) { return r.eager <= kCard ? "yes" : "no"; }},
          {"published eager fits", [](const PeakRow& r) { return r.published_eager ? "yes" : "no"; }}},
         rows);
  s.svg = to_svg(chart);
  s.notes = {
      "Published values include the allocator's slack, moving averages of the weights and unknown alignment "
      "depths; ours are live tensors and workspaces."};
  return s;
}

Sheet repeat_sheet() {
  Sheet s;
  s.id = "repeated_work";
  s.title = "Modules that ran again on equal inputs";
  s.how =
      "Found in the event log of one dry run at 384 tokens (13 chunks, no rollout) by equal signatures of op, "
      "attributes and inputs. The pair conditioner is what "
      "grows with the number of chunks; --hoist-conditioner runs it once.";
  using profiler::RepeatedSubgraph;
  s.fill(
      {{"module", &RepeatedSubgraph::module},
       {"executions", &RepeatedSubgraph::executions},
       {"GB kept that one run would spare", [](const RepeatedSubgraph& r) { return gb(r.spare_kept_bytes()); }},
       {"GFLOP that one run would spare",
        [](const RepeatedSubgraph& r) { return static_cast<double>(r.spare_flops()) / 1e9; }}},
      af3_repeated_work(384));
  return s;
}

struct Work {
  double roofline = 0;  // seconds
  double launches = 0;
};

// Every op at the better known of its two limits; data sheet rates.
Work work_of(const std::vector<profiler::WorkCell>& cells) {
  Work w;
  for (const profiler::WorkCell& c : cells) {
    const double arithmetic = static_cast<double>(c.cost.matmul_flops + c.cost.vector_flops) / kPeakFlops,
                 traffic = static_cast<double>(c.cost.bytes_read + c.cost.bytes_written) / kBandwidth;
    w.roofline += std::max(arithmetic, traffic);
    w.launches += static_cast<double>(c.n_launches());
  }
  return w;
}

struct Fit {
  double stretch = 0, per_launch = 0;  // seconds = stretch * roofline + per_launch * launches
};

// Least squares over the published points.
Fit fit(const std::vector<Work>& work, const std::vector<double>& seconds) {
  double rr = 0, rl = 0, ll = 0, rt = 0, lt = 0;
  for (size_t i = 0; i < seconds.size(); ++i) {
    rr += work[i].roofline * work[i].roofline;
    rl += work[i].roofline * work[i].launches;
    ll += work[i].launches * work[i].launches;
    rt += work[i].roofline * seconds[i];
    lt += work[i].launches * seconds[i];
  }
  const double d = rr * ll - rl * rl;
  return {(rt * ll - lt * rl) / d, (lt * rr - rt * rl) / d};
}

Sheet step_time_sheet() {
  Sheet s;
  s.id = "step_time";
  s.title = "Step time";
  s.estimate = true;
  struct TimeRow {
    int64_t tokens = 0;
    std::optional<double> published_eager, published_fused;
    double eager = 0, fused = 0;
    Work eager_work, fused_work;
  };
  std::vector<TimeRow> rows;
  std::vector<Work> eager, fused;
  std::vector<double> eager_seconds, fused_seconds;
  static_assert(std::size(kTimes) == std::size(kPeaks));  // the same sizes
  for (size_t i = 0; i < std::size(kTimes); ++i) {
    const PublishedTime& t = kTimes[i];
    eager.push_back(work_of(checkpointed_points()[i].eager_work));
    fused.push_back(work_of(checkpointed_points()[i].fused_work));
    if (t.eager > 0) eager_seconds.push_back(t.eager);
    fused_seconds.push_back(t.megafold);
  }
  const Fit e = fit(eager, eager_seconds), f = fit(fused, fused_seconds);
  s.how = fmt::format(
      "Seconds = stretch x roofline + cost per launch x launches, of every op in a dry run with block "
      "checkpoints. Roofline: {:g} TFLOP/s and {:g} TB/s (data sheet of the "
      "card). Fitted by least squares to the published points: eager stretch {:.2f} and {:.1f} us per launch, "
      "fused {:.2f} and {:.1f} us.",
      kPeakFlops / 1e12, kBandwidth / 1e12, e.stretch, e.per_launch * 1e6, f.stretch, f.per_launch * 1e6);
  LineChart chart{s.title + " (estimate)", "tokens", "seconds", {}, {}, {}, ""};
  chart.lines = {{"eager, published", {}, true},
                 {"MegaFold, published", {}, true},
                 {"eager, estimate", {}},
                 {"fused, estimate", {}}};
  for (size_t i = 0; i < std::size(kTimes); ++i) {
    const PublishedTime& t = kTimes[i];
    const double ours_eager = e.stretch * eager[i].roofline + e.per_launch * eager[i].launches,
                 ours_fused = f.stretch * fused[i].roofline + f.per_launch * fused[i].launches;
    rows.push_back({t.tokens, known(t.eager), t.megafold, ours_eager, ours_fused, eager[i], fused[i]});
    chart.x.push_back(static_cast<double>(t.tokens));
    chart.lines[0].values.push_back(known(t.eager));
    chart.lines[1].values.push_back(t.megafold);
    chart.lines[2].values.push_back(ours_eager);
    chart.lines[3].values.push_back(ours_fused);
  }
  s.fill({{"tokens", &TimeRow::tokens},
          published_column("published eager s", &TimeRow::published_eager),
          {"estimate eager s", &TimeRow::eager},
          deviation_column("eager deviation %", &TimeRow::eager, &TimeRow::published_eager),
          {"published fused s", &TimeRow::published_fused},
          {"estimate fused s", &TimeRow::fused},
          deviation_column("fused deviation %", &TimeRow::fused, &TimeRow::published_fused),
          {"eager roofline s", [](const TimeRow& r) { return r.eager_work.roofline; }},
          {"eager launches", [](const TimeRow& r) { return static_cast<int64_t>(r.eager_work.launches); }},
          {"fused roofline s", [](const TimeRow& r) { return r.fused_work.roofline; }},
          {"fused launches", [](const TimeRow& r) { return static_cast<int64_t>(r.fused_work.launches); }}},
         rows);
  s.svg = to_svg(chart);
  s.notes = {
      "Two constants per curve, fitted to that curve: the deviations say how well work and launches explain "
      "it, not that the times were predicted.",
      "MegaFold's point at 384 tokens is 6.8 s; an older value for it is 7.3 s."};
  return s;
}

Sheet training_time_sheet() {
  Sheet s;
  s.id = "training_time";
  s.title = "Training time";
  s.estimate = true;
  const auto e = calculators::estimate_training_time(calculators::default_training_time());
  s.how = fmt::format(
      "Published stages (steps x tokens) on {} devices, each at the published step time of its size (log-log "
      "between points); no time for communication.",
      e.question.devices);
  struct CurveRow {
    std::string curve;
    std::optional<int64_t> steps;
    Json tokens, seconds;
    double days = 0;
    std::string complete;
  };
  std::vector<CurveRow> rows;
  for (const auto& r : e.results) {
    for (const auto& st : r.stages)
      rows.push_back({r.name, st.stage.steps, st.stage.size,
                      st.step_seconds ? Json(*st.step_seconds) : Json(st.why_none), st.seconds / 86400, ""});
    rows.push_back({r.name, std::nullopt, "all", nullptr, r.days(), r.complete ? "yes" : "no"});
  }
  s.fill({{"curve", &CurveRow::curve},
          {"steps", &CurveRow::steps},
          {"tokens", &CurveRow::tokens},
          {"seconds per step", &CurveRow::seconds},
          {"days", &CurveRow::days},
          {"complete", &CurveRow::complete}},
         rows);
  StackedBars chart{s.title + " (estimate)", "days", {"stage 1", "stage 2", "stage 3", "stage 4"}, {}};
  for (const auto& r : e.results) {
    Bar bar{r.name, r.complete ? "" : "part", {}};
    for (const auto& st : r.stages) bar.pieces.push_back(st.seconds / 86400);
    chart.bars.push_back(bar);
  }
  s.svg = to_svg(chart);
  s.notes = e.contradictions;
  return s;
}

Sheet inference_cost_sheet() {
  Sheet s;
  s.id = "inference_cost";
  s.title = "Predicting all of MGnify";
  s.estimate = true;
  const auto c = calculators::estimate_inference_cost(calculators::default_inference_cost());
  s.how = fmt::format(
      "{} sequences by length bin, published seconds per protein on an {} (log-log between lengths), scaled by "
      "peak bf16 rates; shortest, middle and longest length of each bin.",
      c.sequences, c.question.anchors.device);
  using calculators::device_years;
  using calculators::DeviceCost;
  s.fill({{"device", [](const DeviceCost& d) { return d.device.name; }},
          {"peak TFLOP/s", [](const DeviceCost& d) { return d.device.peak_flops / 1e12; }},
          {"device-years, shortest", [](const DeviceCost& d) { return device_years(d.seconds_low); }},
          {"device-years, middle", [](const DeviceCost& d) { return device_years(d.seconds_middle); }},
          {"device-years, longest", [](const DeviceCost& d) { return device_years(d.seconds_high); }}},
         c.devices);
  StackedBars chart{s.title + " (estimate)", "device-years (middle of each bin)", {"device-years"}, {}};
  for (const DeviceCost& d : c.devices)
    chart.bars.push_back({d.device.name, "", {device_years(d.seconds_middle)}});
  s.svg = to_svg(chart);
  s.notes = {
      "1979 TFLOP/s is the sparse peak of the card, 989 the dense one: a model without structured sparsity has "
      "only the second."};
  return s;
}

}  // namespace

std::vector<NamedSheet> all_sheets() {
  return {{"activations by operator", activation_sheet},
          {"memory by category", category_sheet},
          {"operator events", event_sheet},
          {"memory curves", peak_sheet},
          {"repeated work", repeat_sheet},
          {"step time", step_time_sheet},
          {"training time", training_time_sheet},
          {"inference cost", inference_cost_sheet}};
}

}  // namespace reckon::cli
