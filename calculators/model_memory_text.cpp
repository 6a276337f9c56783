// Tables and JSON of a model's memory.
#include "calculators/model_memory.h"
#include "calculators/quantity.h"
#include "profiler/text_table.h"
#include "runtime/core/format.h"

namespace reckon::calculators {
namespace {

using profiler::Columns;
using profiler::Format;
using profiler::Origin;
using profiler::Place;
using profiler::TextTable;
using profiler::value_json;

Columns<Recipe> recipe_columns(Exact parameters) {
  return {
      {"recipe", &Recipe::id},
      {"weight", &Recipe::weight},
      {"gradient", &Recipe::gradient},
      {"master", &Recipe::master},
      {"moments", &Recipe::optimizer},
      {"sum", &Recipe::sum},
      {"of this model",
       [parameters](const Recipe& r) { return decimal_bytes(parameters * r.sum()); },
       {.mark = Origin::formula, .right = true}},
      {"what it is", &Recipe::what},
  };
}

const Columns<MemoryRow> kRowColumns{
    {"what", &MemoryRow::what},
    {"rule", &MemoryRow::rule, {.place = Place::file}},
    {"formula", &MemoryRow::formula, {.mark = Origin::formula, .absent = "-"}},
    {"dry_run", &MemoryRow::dry_run, {.mark = Origin::counted, .absent = "-"}},
    {"agrees", &MemoryRow::agrees, {.place = Place::file}},
    {"verdict",
     [](const MemoryRow& r) { return !r.formula || !r.dry_run ? "-"
                                     : r.agrees()             ? "equal"
                                                              : "DIFFERENT"; },
     {.heading = " ", .place = Place::text}},
    {"GiB",
     [](const MemoryRow& r) {
       return fmt::format("{:.3f}", (r.dry_run ? *r.dry_run : *r.formula).to_double() / 0x1p30);
     },
     {.place = Place::text, .right = true}},
    {"rule_last", &MemoryRow::rule, {.heading = "rule", .place = Place::text}},
};

const Columns<GroupRow> kGroupColumns{
    {"scheme", &GroupRow::scheme},
    {"weights", &GroupRow::weights, {.format = Format::bytes, .mark = Origin::formula}},
    {"gradients", &GroupRow::gradients, {.format = Format::bytes, .mark = Origin::formula}},
    {"master", &GroupRow::master, {.format = Format::bytes, .mark = Origin::formula}},
    {"optimizer",
     &GroupRow::optimizer,
     {.heading = "moments", .format = Format::bytes, .mark = Origin::formula}},
    {"activations", &GroupRow::activations, {.place = Place::file}},
    {"activations_checked",
     [](const GroupRow& g) {
       const bool differ = g.dry_run_activations && *g.dry_run_activations != g.activations;
       return binary_bytes(g.activations) + (differ ? " DIFFERENT" : "");
     },
     {.heading = "activations", .place = Place::text, .right = true}},
    {"sum", &GroupRow::sum, {.format = Format::bytes, .mark = Origin::derived}},
    {"state_in_dry_run", &GroupRow::dry_run_state, {.place = Place::file}},
    {"state_checked",
     [](const GroupRow& g) {
       if (!g.dry_run_state) return std::string("-");
       return fmt::format("{} {}", format_count(*g.dry_run_state),
                          *g.dry_run_state == g.state() ? "equal" : "DIFFERENT");
     },
     {.heading = "state in the dry run", .mark = Origin::counted, .place = Place::text}},
    {"activations_in_dry_run", &GroupRow::dry_run_activations, {.place = Place::file}},
    {"sent_per_step", &GroupRow::sent, {.format = Format::bytes, .mark = Origin::formula}},
    {"wire", &GroupRow::wire, {.place = Place::file}},
};

void write_groups(std::ostream& out, const ModelMemory& m) {
  const Recipe& r = recipe_named(m.question.recipe);
  out << fmt::format(
      "\nPer device in a group, recipe {} ({} + {} + {} + {} bytes per parameter), batch {} on every "
      "data-parallel device\n",
      r.id, r.weight, r.gradient, r.master, r.optimizer, m.question.options.batch);
  TextTable groups(kGroupColumns);
  groups.rows(m.groups);
  out << groups
      << "What goes over the wire (rings: of n devices each sends (n-1)/n of the bytes for a reduce-scatter "
         "or an all-gather, twice that for an all-reduce)\n";
  for (const GroupRow& row : m.groups)
    out << "  " << row.scheme << ": " << row.wire << "; " << format_count(row.sent)
        << " bytes per device and step\n";
  out << "A tensor-parallel device is a model of its own sizes here, so its dry run is a real one; sharded "
         "state is the counted state over the devices, rounded up.\n";
}

}  // namespace

void write_model_memory(std::ostream& out, const ModelMemory& m) {
  const models::RunOptions& o = m.question.options;
  out << m.description << "\n"
      << fmt::format("parameters: {} counted in the dry run, {} by formula\n",
                     format_count(m.parameters_counted), format_count(m.parameters_formula));
  out << fmt::format("One step: batch {}, sequence {}{}, dtype {}, checkpoint {}, fuse {}\n\n", o.batch, o.seq,
                     o.rows > 0 ? fmt::format(", rows {}", o.rows) : "", name_of(o.dtype),
                     autograd::name_of(o.checkpoint), o.fuse.to_string());
  out << "Why 16 bytes per parameter (Adam)\n";
  TextTable why(recipe_columns(m.parameters_formula));
  why.rows(recipes());
  out << why;
  out << "\nOn one device, each at its own maximum (they are not all full at once: the peak of the step is "
      << binary_bytes(m.peak_bytes) << " [c])\n";
  TextTable one(kRowColumns);
  one.rows(m.rows);
  out << one;
  if (m.kv_bytes_per_token > 0)
    out << fmt::format("K/V cache per token of one sequence, 16 bit: {} bytes [f]\n",
                       format_count(m.kv_bytes_per_token));
  if (!m.groups.empty()) write_groups(out, m);
  for (const std::string& n : m.notes) out << "note: " << n << "\n";
}

nlohmann::ordered_json model_memory_json(const ModelMemory& m) {
  using Json = nlohmann::ordered_json;
  Json j{{"model", m.description},
         {"parameters_counted", value_json(m.parameters_counted)},
         {"parameters_formula", value_json(m.parameters_formula)},
         {"recipe", m.question.recipe},
         {"peak_bytes", m.peak_bytes},
         {"kv_bytes_per_token", m.kv_bytes_per_token}};
  for (const models::SettingLine& line : m.question.options.describe()) j["settings"][line.name] = line.value;
  j["one_device"] = objects_json(kRowColumns, m.rows);
  j["groups"] = objects_json(kGroupColumns, m.groups);
  j["notes"] = m.notes;
  return j;
}

}  // namespace reckon::calculators
