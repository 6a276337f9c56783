// Tables and JSON of the FLOP conventions.
#include "calculators/qwen_conventions.h"
#include "models/qwen/flops.h"
#include "profiler/table.h"
#include "runtime/core/error.h"
#include "runtime/core/format.h"

namespace reckon::calculators {
namespace {

std::string count_or_dash(const std::optional<Exact>& n) { return n ? format_count(*n) : "-"; }

std::string formula_text(const Convention& c) {
  if (!c.has_formula()) return "-";
  if (c.agrees()) return "equal";
  return fmt::format("{} / {}", count_or_dash(c.formula_forward), count_or_dash(c.formula_step));
}

double use_of(Exact step, const ConventionQuestion& q) {
  return step.to_double() / *q.step_seconds / *q.peak_flops;
}

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
  std::vector<std::string> heads{"convention", "forward [c]", "one training step [c]", "closed formula [f]"};
  std::string align = "lrrl";
  const bool with_use = q.step_seconds && q.peak_flops;
  if (q.budget) {
    heads.push_back(fmt::format("steps for {:g} [d]", *q.budget));
    align += 'r';
  }
  if (with_use) {
    heads.emplace_back("of the peak [d]");
    align += 'r';
  }
  profiler::Table table(align, heads);
  bool all_agree = true;
  for (const Convention& c : t.rows) {
    std::vector<std::string> row{c.id, count_or_dash(c.forward), count_or_dash(c.step), formula_text(c)};
    if (q.budget) row.push_back(c.step ? format_count(steps_for(*q.budget, *c.step)) : "-");
    if (with_use) row.push_back(c.step ? fmt::format("{:.2f} %", 100 * use_of(*c.step, q)) : "-");
    table.row(std::move(row));
    all_agree = all_agree && c.agrees();
  }
  table.print(out);
  out << "\nHow each counts, and what it leaves out\n";
  profiler::Table rules("lll", {"convention", "rule", "leaves out"});
  for (const Convention& c : t.rows) rules.row({c.id, c.rule, c.leaves_out});
  rules.print(out);
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
  if (!all_agree) out << "\nA formula and the dry run differ: the row shows both\n";
}

nlohmann::ordered_json conventions_json(const ConventionTable& t) {
  using Json = nlohmann::ordered_json;
  // Beyond 2^63 a JSON number would lose digits, so it becomes a text.
  const auto number = [](const std::optional<Exact>& n) -> Json {
    if (!n) return nullptr;
    return n->fits_int64() ? Json(n->to_int64("count")) : Json(n->digits());
  };
  const ConventionQuestion& q = t.question;
  Json rows = Json::array();
  for (const Convention& c : t.rows) {
    Json row{{"id", c.id},
             {"rule", c.rule},
             {"leaves_out", c.leaves_out},
             {"forward", number(c.forward)},
             {"step", number(c.step)},
             {"formula_forward", number(c.formula_forward)},
             {"formula_step", number(c.formula_step)},
             {"agrees", c.agrees()}};
    if (q.budget && c.step) row["steps_for_budget"] = number(steps_for(*q.budget, *c.step));
    if (q.step_seconds && q.peak_flops && c.step) row["fraction_of_peak"] = use_of(*c.step, q);
    rows.push_back(std::move(row));
  }
  Json j{{"model", t.description},
         {"batch", q.batch},
         {"seq", q.seq},
         {"lora_rank", q.lora_rank},
         {"parameters", t.n_parameters},
         {"executed", number(t.executed)},
         {"recompute", number(t.parts.recompute)}};
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
