#include "studies/training_time.h"

#include <algorithm>
#include <cmath>

#include "profiler/table.h"
#include "runtime/core/error.h"
#include "runtime/core/format.h"

namespace reckon::calculators {
namespace {

TrainingTime through(const TrainingTimeQuestion& q, const StepTimeCurve& curve, double scale,
                     std::string name) {
  TrainingTime t;
  t.name = std::move(name);
  t.scale = scale;
  for (const TrainingStage& s : q.stages) {
    StageTime one{s, curve.seconds_at(s.size), "", 0};
    if (one.step_seconds) {
      one.step_seconds = *one.step_seconds * scale;
      one.seconds = *one.step_seconds * static_cast<double>(s.steps);
      t.seconds += one.seconds;
    } else {
      one.why_none = curve.out_of_memory_from > 0 && s.size >= curve.out_of_memory_from
                         ? "out of memory"
                         : fmt::format("outside the curve ({} to {})", curve.points.front().first,
                                       curve.points.back().first);
      t.complete = false;
    }
    t.stages.push_back(std::move(one));
  }
  t.device_hours = t.seconds / 3600 * static_cast<double>(q.devices);
  return t;
}

}  // namespace

std::optional<double> StepTimeCurve::seconds_at(int64_t size) const {
  for (size_t i = 0; i < points.size(); ++i) {
    if (points[i].first == size) return points[i].second;
    if (i + 1 == points.size() || size < points[i].first || size > points[i + 1].first) continue;
    const double x0 = std::log(static_cast<double>(points[i].first)),
                 x1 = std::log(static_cast<double>(points[i + 1].first));
    const double share = (std::log(static_cast<double>(size)) - x0) / (x1 - x0);
    return points[i].second * std::pow(points[i + 1].second / points[i].second, share);
  }
  return std::nullopt;
}

TrainingTimeQuestion default_training_time() {
  TrainingTimeQuestion q;
  q.stages = {{74250, 384}, {1750, 640}, {250, 768}, {1750, 768}};
  q.curves = {{"eager", {{128, 6.6}, {256, 8.1}, {384, 10.5}, {512, 14.7}}, 640},
              {"inductor", {{128, 6.7}, {256, 8.2}, {384, 10.9}, {512, 15.0}}, 640},
              {"MegaFold", {{128, 3.7}, {256, 4.6}, {384, 6.8}, {512, 8.5}, {640, 13.2}, {768, 17.8}}, 0}};
  q.devices = 256;
  q.base = {384, 14.82};
  return q;
}

TrainingTimeEstimate estimate_training_time(const TrainingTimeQuestion& q) {
  RECKON_CHECK(!q.stages.empty(), "a training needs at least one stage");
  RECKON_CHECK(!q.curves.empty(), "a training time needs at least one step-time curve");
  RECKON_CHECK(q.devices >= 1, "--devices must be at least 1, got {}", q.devices);
  for (const TrainingStage& s : q.stages)
    RECKON_CHECK(s.steps >= 1 && s.size >= 1,
                 "a stage needs at least 1 step at a size of at least 1, got {} x {}", s.steps, s.size);
  for (const StepTimeCurve& c : q.curves) {
    RECKON_CHECK(!c.points.empty(), "curve {} has no point", c.name);
    for (size_t i = 0; i < c.points.size(); ++i) {
      RECKON_CHECK(c.points[i].first >= 1 && std::isfinite(c.points[i].second) && c.points[i].second > 0,
                   "curve {}: sizes and seconds must be positive, got {}: {}", c.name, c.points[i].first,
                   c.points[i].second);
      RECKON_CHECK(i == 0 || c.points[i - 1].first < c.points[i].first,
                   "curve {}: sizes must rise, got {} after {}", c.name, c.points[i].first,
                   i ? c.points[i - 1].first : 0);
    }
  }
  TrainingTimeEstimate e;
  e.question = q;
  for (const StepTimeCurve& c : q.curves) e.results.push_back(through(q, c, 1, c.name));
  if (!q.base) return e;
  const auto [size, seconds] = *q.base;
  RECKON_CHECK(size >= 1 && std::isfinite(seconds) && seconds > 0,
               "the base must be a positive time at a positive size, got {} s at {}", seconds, size);
  for (const StepTimeCurve& c : q.curves) {
    const auto at = c.seconds_at(size);
    if (!at) continue;
    const double scale = seconds / *at;
    e.results.push_back(through(q, c, scale, fmt::format("{} through the base", c.name)));
    if (std::fabs(scale - 1) <= 0.05) continue;
    std::string text = fmt::format("the base says {:g} s at {}, the curve {} says {:.3g} s: {:.2f} times",
                                   seconds, size, c.name, *at, scale);
    for (const auto& [other, value] : c.points)
      if (other != size && std::fabs(value / seconds - 1) < 0.02)
        text += fmt::format(" (it is about what that curve has at {}: {:g} s)", other, value);
    e.contradictions.push_back(std::move(text));
  }
  return e;
}

std::vector<TrainingStage> stages_from(const NumberTable& t) {
  std::vector<TrainingStage> out;
  for (size_t i = 0; i < t.rows.size(); ++i)
    out.push_back({whole_number(t.rows[i][0], 1, "steps", t.places[i]),
                   whole_number(t.rows[i][1], 1, "size", t.places[i])});
  return out;
}

StepTimeCurve curve_from(const NumberTable& t, std::string name) {
  StepTimeCurve c;
  c.name = std::move(name);
  for (size_t i = 0; i < t.rows.size(); ++i) {
    RECKON_CHECK(t.rows[i][1] > 0, "{}: seconds must be positive, got {}", t.places[i], t.rows[i][1]);
    c.points.emplace_back(whole_number(t.rows[i][0], 1, "size", t.places[i]), t.rows[i][1]);
  }
  std::sort(c.points.begin(), c.points.end());
  return c;
}

void write_training_time(std::ostream& out, const TrainingTimeEstimate& e) {
  const TrainingTimeQuestion& q = e.question;
  out << "ESTIMATE of training time: steps x step time, on " << q.devices
      << " devices that all take one step together\n"
      << "  constants: the step-time curves below (measured on one device; log-log between their points, "
         "nothing beyond their ends);\n"
      << "  no time for communication, data, checkpoints or failures\n\n";
  for (const StepTimeCurve& c : q.curves) {
    std::vector<std::string> points;
    for (const auto& [size, seconds] : c.points) points.push_back(fmt::format("{}: {:g} s", size, seconds));
    out << fmt::format(
        "  {:<10} {}{}\n", c.name, fmt::join(points, ", "),
        c.out_of_memory_from ? fmt::format(", out of memory from {}", c.out_of_memory_from) : "");
  }
  out << "\n";
  profiler::Table t("lrrrrr", {"estimate", "steps", "size", "step [s]", "days", "device hours"});
  for (const TrainingTime& r : e.results) {
    for (const StageTime& s : r.stages)
      t.row({&s == &r.stages.front() ? r.name : "", format_count(s.stage.steps), std::to_string(s.stage.size),
             s.step_seconds ? fmt::format("{:.2f}", *s.step_seconds) : s.why_none,
             s.step_seconds ? fmt::format("{:.2f}", s.seconds / 86400) : "-",
             s.step_seconds ? format_count(std::llround(s.seconds / 3600 * static_cast<double>(q.devices)))
                            : "-"});
    t.row({r.complete ? "  sum" : "  sum of what fits", "", "",
           r.scale == 1 ? "" : fmt::format("x {:.3f}", r.scale), fmt::format("{:.2f}", r.days()),
           format_count(std::llround(r.device_hours))});
    if (&r != &e.results.back()) t.rule();
  }
  t.print(out);
  if (q.base)
    out << fmt::format(
        "\nBase: {:g} s per step at {}; \"through the base\" scales a curve so that it passes there\n",
        q.base->second, q.base->first);
  for (const std::string& c : e.contradictions) out << "contradiction: " << c << "\n";
}

nlohmann::ordered_json training_time_json(const TrainingTimeEstimate& e) {
  using Json = nlohmann::ordered_json;
  Json j{{"estimate", true}, {"devices", e.question.devices}};
  if (e.question.base) j["base"] = {{"size", e.question.base->first}, {"seconds", e.question.base->second}};
  for (const StepTimeCurve& c : e.question.curves) {
    Json points = Json::array();
    for (const auto& [size, seconds] : c.points) points.push_back({{"size", size}, {"seconds", seconds}});
    j["curves"].push_back({{"name", c.name}, {"points", points}, {"out_of_memory_from", c.out_of_memory_from}});
  }
  for (const TrainingTime& r : e.results) {
    Json stages = Json::array();
    for (const StageTime& s : r.stages) {
      Json row{{"steps", s.stage.steps}, {"size", s.stage.size}};
      row["step_seconds"] = s.step_seconds ? Json(*s.step_seconds) : Json(nullptr);
      if (!s.step_seconds) row["why_none"] = s.why_none;
      row["seconds"] = s.seconds;
      stages.push_back(std::move(row));
    }
    j["results"].push_back({{"name", r.name},
                            {"scale", r.scale},
                            {"complete", r.complete},
                            {"seconds", r.seconds},
                            {"days", r.days()},
                            {"device_hours", r.device_hours},
                            {"stages", stages}});
  }
  j["contradictions"] = e.contradictions;
  return j;
}

}  // namespace reckon::calculators
