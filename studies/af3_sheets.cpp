#include "studies/af3_sheets.h"

#include <fmt/format.h>

#include <cmath>

#include "studies/af3_figures.h"
#include "studies/af3_figures_data.h"
#include "studies/chart.h"
#include "studies/inference_cost.h"
#include "studies/training_time.h"

namespace reckon::cli {
namespace {

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

Sheet activation_sheet() {
  Sheet s;
  s.id = "activations_by_operator";
  s.title = "Activations kept for backward by operator family";
  s.how =
      "Dry runs of the af3 preset without checkpoints or fusion: 48 augmentations in chunks of 4, 3 recycles, "
      "4 templates, 800 alignment rows, 5 atoms per "
      "token, no confidence head, trunk in bf16 and the rest in f32. GB are 1e9 bytes.";
  s.columns = {"tokens", "family", "published GB", "ours GB", "deviation %"};
  StackedBars chart{s.title, "GB kept for backward", {"transition", "attention", "other"}, {}};
  const std::vector<Af3ActivationBar>& bars = activation_bars();
  for (size_t i = 0; i < bars.size(); ++i) {
    const PublishedBar& p = kBars[i];
    const Af3ActivationBar& o = bars[i];
    const auto row = [&](const char* family, double published, int64_t ours) {
      s.rows.push_back({o.tokens, std::string(family), published, gb(ours), deviation(gb(ours), published)});
    };
    row("transition", p.transition, o.transition);
    row("attention", p.attention, o.attention);
    row("other", p.other, o.other);
    row("total", p.total, o.total());
    chart.bars.push_back({std::to_string(o.tokens), "pub.", {p.transition, p.attention, p.other}});
    chart.bars.push_back({std::to_string(o.tokens), "ours", {gb(o.transition), gb(o.attention), gb(o.other)}});
  }
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
  s.columns = {"tokens", "category", "published GB", "ours GB", "deviation %"};
  StackedBars chart{s.title, "GB", {"activations", "weights", "gradients", "optimizer"}, {}};
  models::RunOptions whole = models::af3::activation_step(kBars[0].tokens);
  whole.af3.confidence = true;  // its weights are trained too
  whole.steps = 2;              // the optimizer's state is there from the second on
  const profiler::Ledger ledger = dry_run(whole);
  const auto most = [&](Category c) {
    return ledger.books().for_memory().max_by_category[static_cast<size_t>(c)];
  };
  const std::vector<Af3ActivationBar>& bars = activation_bars();
  for (size_t i = 0; i < bars.size(); ++i) {
    const PublishedBar& p = kBars[i];
    const int64_t kept = bars[i].total();
    const std::tuple<const char*, double, int64_t> rows[] = {
        {"activations", p.total, kept},
        {"weights", kPublishedWeights, most(Category::parameter)},
        {"gradients", kPublishedGradients, most(Category::gradient)},
        {"optimizer", kPublishedOptimizer, most(Category::optimizer)}};
    Bar published{std::to_string(p.tokens), "pub.", {}}, ours{std::to_string(p.tokens), "ours", {}};
    for (const auto& [name, value, bytes] : rows) {
      s.rows.push_back({p.tokens, std::string(name), value, gb(bytes), deviation(gb(bytes), value)});
      published.pieces.push_back(value);
      ours.pieces.push_back(gb(bytes));
    }
    chart.bars.push_back(published);
    chart.bars.push_back(ours);
  }
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
  s.columns = {"event", "published", "ours", "difference", "deviation %"};
  const profiler::FrameworkEvents e = af3_operator_events();
  const std::tuple<const char*, int64_t, int64_t> rows[] = {
      {"aten::linear", 37538, e.linear},
      {"aten::layer_norm", 13225, e.native_layer_norm},
      {"aten::native_layer_norm", 12686, e.native_layer_norm},
      {"aten::sigmoid", 10903, e.sigmoid},
      {"aten::silu", 2601, e.silu}};
  StackedBars chart{s.title, "events", {"events"}, {}};
  for (const auto& [name, published, ours] : rows) {
    s.rows.push_back({std::string(name), published, ours, ours - published,
                      deviation(static_cast<double>(ours), static_cast<double>(published))});
    chart.bars.push_back({std::string(name).substr(6), "pub.", {static_cast<double>(published)}});
    chart.bars.push_back({std::string(name).substr(6), "ours", {static_cast<double>(ours)}});
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
  s.columns = {"tokens",
               "published eager GB",
               "ours eager GB",
               "eager deviation %",
               "published fused GB",
               "ours fused GB",
               "fused deviation %",
               "ours eager, hoisted GB",
               "ours fused, hoisted GB",
               "ours everything on GB",
               "eager fits the card",
               "published eager fits"};
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
    const bool fits = p.eager > 0;
    s.rows.push_back({o.tokens, fits ? Cell(p.eager) : Cell(std::string("out of memory")), gb(o.eager),
                      fits ? Cell(deviation(gb(o.eager), p.eager)) : Cell{}, p.megafold, gb(o.fused),
                      deviation(gb(o.fused), p.megafold), gb(o.eager_hoisted), gb(o.fused_hoisted),
                      gb(o.smallest), std::string(gb(o.eager) <= kCard ? "yes" : "no"),
                      std::string(fits ? "yes" : "no")});
    chart.x.push_back(static_cast<double>(o.tokens));
    chart.lines[0].values.push_back(fits ? std::optional(p.eager) : std::nullopt);
    chart.lines[1].values.push_back(p.megafold);
    chart.lines[2].values.push_back(gb(o.eager));
    chart.lines[3].values.push_back(gb(o.fused));
    chart.lines[4].values.push_back(gb(o.fused_hoisted));
    chart.lines[5].values.push_back(gb(o.smallest));
  }
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
  s.columns = {"module", "executions", "GB kept that one run would spare", "GFLOP that one run would spare"};
  for (const profiler::RepeatedSubgraph& r : af3_repeated_work(384))
    s.rows.push_back(
        {r.module, r.executions, gb(r.spare_kept_bytes()), static_cast<double>(r.spare_flops()) / 1e9});
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
  s.columns = {
      "tokens",           "published eager s", "estimate eager s", "eager deviation %", "published fused s",
      "estimate fused s", "fused deviation %", "eager roofline s", "eager launches",    "fused roofline s",
      "fused launches"};
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
    const bool known = t.eager > 0;
    s.rows.push_back({t.tokens, known ? Cell(t.eager) : Cell(std::string("out of memory")), ours_eager,
                      known ? Cell(deviation(ours_eager, t.eager)) : Cell{}, t.megafold, ours_fused,
                      deviation(ours_fused, t.megafold), eager[i].roofline,
                      static_cast<int64_t>(eager[i].launches), fused[i].roofline,
                      static_cast<int64_t>(fused[i].launches)});
    chart.x.push_back(static_cast<double>(t.tokens));
    chart.lines[0].values.push_back(known ? std::optional(t.eager) : std::nullopt);
    chart.lines[1].values.push_back(t.megafold);
    chart.lines[2].values.push_back(ours_eager);
    chart.lines[3].values.push_back(ours_fused);
  }
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
  s.columns = {"curve", "steps", "tokens", "seconds per step", "days", "complete"};
  for (const auto& r : e.results) {
    for (const auto& st : r.stages)
      s.rows.push_back({r.name, st.stage.steps, st.stage.size,
                        st.step_seconds ? Cell(*st.step_seconds) : Cell(st.why_none), st.seconds / 86400,
                        std::string()});
    s.rows.push_back(
        {r.name, Cell{}, std::string("all"), Cell{}, r.days(), std::string(r.complete ? "yes" : "no")});
  }
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
  s.columns = {"device", "peak TFLOP/s", "device-years, shortest", "device-years, middle",
               "device-years, longest"};
  StackedBars chart{s.title + " (estimate)", "device-years (middle of each bin)", {"device-years"}, {}};
  for (const auto& d : c.devices) {
    s.rows.push_back({d.device.name, d.device.peak_flops / 1e12, calculators::device_years(d.seconds_low),
                      calculators::device_years(d.seconds_middle), calculators::device_years(d.seconds_high)});
    chart.bars.push_back({d.device.name, "", {calculators::device_years(d.seconds_middle)}});
  }
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
