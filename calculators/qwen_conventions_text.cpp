// Tables and JSON of the FLOP conventions.
#include <algorithm>

#include "calculators/qwen_conventions.h"
#include "models/qwen/flops.h"
#include "profiler/text_table.h"
#include "runtime/core/error.h"
#include "runtime/core/format.h"

namespace reckon::calculators {
namespace {

using profiler::Columns;
using profiler::Origin;
using profiler::Place;
using profiler::value_json;

std::string formula_text(const Convention& c) {
  const auto text = [](const std::optional<Exact>& n) { return n ? format_count(*n) : "-"; };
  if (!c.has_formula()) return "-";
  return c.agrees() ? "equal" : fmt::format("{} / {}", text(c.formula_forward), text(c.formula_step));
}

double use_of(Exact step, const ConventionQuestion& q) {
  return step.to_double() / *q.step_seconds / *q.peak_flops;
}

Columns<Convention> convention_columns(const ConventionQuestion& q) {
  Columns<Convention> list{
      {"id", &Convention::id, {.heading = "convention"}},
      {"rule", &Convention::rule, {.place = Place::file}},
      {"leaves_out", &Convention::leaves_out, {.place = Place::file}},
      {"forward", &Convention::forward, {.mark = Origin::counted, .absent = "-"}},
      {"step", &Convention::step, {.heading = "one training step", .mark = Origin::counted, .absent = "-"}},
      {"formula_forward", &Convention::formula_forward, {.place = Place::file}},
      {"formula_step", &Convention::formula_step, {.place = Place::file}},
      {"agrees", &Convention::agrees, {.place = Place::file}},
      {"closed formula", formula_text, {.mark = Origin::formula, .place = Place::text}},
  };
  if (q.budget)
    list.add({fmt::format("steps for {:g}", *q.budget),
              [budget = *q.budget](const Convention& c) {
                return c.step ? std::optional(steps_for(budget, *c.step)) : std::nullopt;
              },
              {.mark = Origin::derived, .place = Place::text, .absent = "-"}});
  if (q.step_seconds && q.peak_flops)
    list.add(
        {"of the peak",
         [q](const Convention& c) { return c.step ? fmt::format("{:.2f} %", 100 * use_of(*c.step, q)) : "-"; },
         {.mark = Origin::derived, .place = Place::text, .right = true}});
  return list;
}

const Columns<Convention> kRuleColumns{
    {"convention", &Convention::id}, {"rule", &Convention::rule}, {"leaves out", &Convention::leaves_out}};

void write_use(std::ostream& out, const ConventionTable& t) {
  const ConventionQuestion& q = t.question;
  if (!q.step_seconds) return;
  const double seconds = *q.step_seconds, tokens = static_cast<double>(q.batch * q.seq) / seconds;
  out << fmt::format("\nUse of the hardware at {} per step [given]: {} tokens/s [d]\n", format_seconds(seconds),
                     format_scaled(tokens));
  if (!q.peak_flops) {
    out << "  MFU and HFU need a denominator: give --peak-flops, a rate or a device's name\n";
    return;
  }
  const Convention& model = t.row("matmul");
  out << fmt::format("  denominator: {} FLOP/s, {}\n", format_scaled(*q.peak_flops), q.peak_name);
  out << fmt::format("  MFU {:.2f} % [d]: {} matrix FLOPs the model needs per step\n",
                     100 * use_of(*model.step, q), format_count(*model.step));
  out << fmt::format("  HFU {:.2f} % [d]: {} that ran, {} of them recompute\n", 100 * use_of(t.executed, q),
                     format_count(t.executed), format_count(t.parts.recompute));
  if (use_of(t.executed, q) > 1)
    out << "  more than the denominator can do: is the step time or the rate another machine's?\n";
  out << "  the last column says what the same step would be called under each convention\n";
}

}  // namespace

void write_conventions(std::ostream& out, const ConventionTable& t) {
  const ConventionQuestion& q = t.question;
  out << t.description << "\n"
      << fmt::format("One recorded dry run: batch {}, sequence {}, {} tokens; nothing fused, checkpoint {}\n\n",
                     q.batch, q.seq, format_count(Exact(q.batch) * q.seq),
                     q.checkpoint_block ? "block" : "none");
  profiler::TextTable counts(convention_columns(q));
  counts.rows(t.rows);
  profiler::TextTable rules(kRuleColumns);
  rules.rows(t.rows);
  out << counts << "\nHow each counts, and what it leaves out\n" << rules;
  const QwenParts& p = t.parts;
  out << fmt::format(
      "\nMatrix products of the forward pass [c]: q, k, v {}; o {}; scores and values {}; feed-forward {}; "
      "head {} ({})\n",
      format_count(p.q.flops + p.k.flops + p.v.flops), format_count(p.o.flops), format_count(p.attention()),
      format_count(p.feed_forward()), format_count(p.head.flops),
      fmt::format("{:.1f} % of the whole", 100 * p.head.flops.to_double() / p.forward.to_double()));
  out << fmt::format("Backward {} [c] = {:.3f} x forward; recompute {} [c]\n", format_count(p.backward),
                     p.backward.to_double() / p.forward.to_double(), format_count(p.recompute));
  if (q.lora_rank > 0)
    out << fmt::format(
        "A second dry run with the adapters (r {}): forward {}, step {} [c]; row lora-needed is {}\n",
        q.lora_rank, format_count(t.lora_recorded_forward), format_count(t.lora_recorded_step),
        t.row("lora-needed").step == t.lora_recorded_step &&
                t.row("lora-needed").forward == t.lora_recorded_forward
            ? "equal"
            : "DIFFERENT");
  write_use(out, t);
  if (!std::all_of(t.rows.begin(), t.rows.end(), [](const Convention& c) { return c.agrees(); }))
    out << "\nA formula and the dry run differ: the row shows both\n";
}

nlohmann::ordered_json conventions_json(const ConventionTable& t) {
  using Json = nlohmann::ordered_json;
  const ConventionQuestion& q = t.question;
  Json rows = objects_json(convention_columns(q), t.rows);
  for (size_t i = 0; i < t.rows.size(); ++i) {
    const std::optional<Exact>& step = t.rows[i].step;
    if (q.budget && step) rows[i]["steps_for_budget"] = value_json(steps_for(*q.budget, *step));
    if (q.step_seconds && q.peak_flops && step) rows[i]["fraction_of_peak"] = use_of(*step, q);
  }
  Json j{{"model", t.description},
         {"batch", q.batch},
         {"seq", q.seq},
         {"lora_rank", q.lora_rank},
         {"parameters", t.n_parameters},
         {"executed", value_json(t.executed)},
         {"recompute", value_json(t.parts.recompute)}};
  if (q.budget) j["budget"] = *q.budget;
  if (q.step_seconds) j["step_seconds"] = *q.step_seconds;
  if (q.peak_flops) j["peak_flops"] = *q.peak_flops, j["peak_name"] = q.peak_name;
  if (q.step_seconds && q.peak_flops) {
    j["mfu"] = use_of(*t.row("matmul").step, q);
    j["hfu"] = use_of(t.executed, q);
  }
  j["conventions"] = std::move(rows);
  j["flops_module_notes"] = models::qwen_flops_notes();
  return j;
}

}  // namespace reckon::calculators
