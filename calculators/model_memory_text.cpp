// Tables and JSON of a model's memory.
#include "calculators/model_memory.h"
#include "calculators/quantity.h"
#include "profiler/table.h"
#include "runtime/core/format.h"

namespace reckon::calculators {
namespace {

std::string count_or_dash(const std::optional<Exact>& n) { return n ? format_count(*n) : "-"; }

std::string verdict(const MemoryRow& r) {
  if (!r.formula || !r.dry_run) return "-";
  return r.agrees() ? "equal" : "DIFFERENT";
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
  profiler::Table why("lrrrrrrl", {"recipe", "weight", "gradient", "master", "moments", "sum",
                                   "of this model [f]", "what it is"});
  for (const Recipe& r : recipes())
    why.row({std::string(r.id), std::to_string(r.weight), std::to_string(r.gradient), std::to_string(r.master),
             std::to_string(r.optimizer), std::to_string(r.sum()),
             decimal_bytes(m.parameters_formula * r.sum()), std::string(r.what)});
  why.print(out);
  out << "\nOn one device, each at its own maximum (they are not all full at once: the peak of the step is "
      << binary_bytes(m.peak_bytes) << " [c])\n";
  profiler::Table one("lrrlrl", {"what", "formula [f]", "dry run [c]", "", "GiB", "rule"});
  for (const MemoryRow& r : m.rows)
    one.row({r.what, count_or_dash(r.formula), count_or_dash(r.dry_run), verdict(r),
             fmt::format("{:.3f}", (r.dry_run ? *r.dry_run : *r.formula).to_double() / 0x1p30), r.rule});
  one.print(out);
  if (m.kv_bytes_per_token > 0)
    out << fmt::format("K/V cache per token of one sequence, 16 bit: {} bytes [f]\n",
                       format_count(m.kv_bytes_per_token));
  if (!m.groups.empty()) {
    const Recipe& r = recipe_named(m.question.recipe);
    out << fmt::format(
        "\nPer device in a group, recipe {} ({} + {} + {} + {} bytes per parameter), batch {} on every "
        "data-parallel device\n",
        r.id, r.weight, r.gradient, r.master, r.optimizer, o.batch);
    profiler::Table g("lrrrrrrlr", {"scheme", "weights [f]", "gradients [f]", "master [f]", "moments [f]",
                                    "activations", "sum [d]", "state in the dry run [c]", "sent per step [f]"});
    for (const GroupRow& row : m.groups)
      g.row({row.scheme, binary_bytes(row.weights), binary_bytes(row.gradients), binary_bytes(row.master),
             binary_bytes(row.optimizer),
             binary_bytes(row.activations) +
                 (row.dry_run_activations && *row.dry_run_activations != row.activations ? " DIFFERENT" : ""),
             binary_bytes(row.sum()),
             row.dry_run_state ? fmt::format("{} {}", format_count(*row.dry_run_state),
                                             *row.dry_run_state == row.state() ? "equal" : "DIFFERENT")
                               : "-",
             binary_bytes(row.sent)});
    g.print(out);
    out << "What goes over the wire (rings: of n devices each sends (n-1)/n of the bytes for a reduce-scatter "
           "or an all-gather, twice that for an all-reduce)\n";
    for (const GroupRow& row : m.groups)
      out << "  " << row.scheme << ": " << row.wire << "; " << format_count(row.sent)
          << " bytes per device and step\n";
    out << "A tensor-parallel device is a model of its own sizes here, so its dry run is a real one; sharded "
           "state is the counted state over the devices, rounded up.\n";
  }
  for (const std::string& n : m.notes) out << "note: " << n << "\n";
}

nlohmann::ordered_json model_memory_json(const ModelMemory& m) {
  using Json = nlohmann::ordered_json;
  const auto number = [](const std::optional<Exact>& n) -> Json {
    if (!n) return nullptr;
    return n->fits_int64() ? Json(n->to_int64("bytes")) : Json(n->digits());
  };
  Json j{{"model", m.description},
         {"parameters_counted", number(m.parameters_counted)},
         {"parameters_formula", number(m.parameters_formula)},
         {"recipe", m.question.recipe},
         {"peak_bytes", m.peak_bytes},
         {"kv_bytes_per_token", m.kv_bytes_per_token}};
  for (const auto& [key, value] : m.question.options.describe()) j["settings"][key] = value;
  for (const MemoryRow& r : m.rows)
    j["one_device"].push_back({{"what", r.what},
                               {"rule", r.rule},
                               {"formula", number(r.formula)},
                               {"dry_run", number(r.dry_run)},
                               {"agrees", r.agrees()}});
  j["groups"] = Json::array();
  for (const GroupRow& r : m.groups)
    j["groups"].push_back({{"scheme", r.scheme},
                           {"weights", number(r.weights)},
                           {"gradients", number(r.gradients)},
                           {"master", number(r.master)},
                           {"optimizer", number(r.optimizer)},
                           {"activations", number(r.activations)},
                           {"sum", number(r.sum())},
                           {"state_in_dry_run", number(r.dry_run_state)},
                           {"activations_in_dry_run", number(r.dry_run_activations)},
                           {"sent_per_step", number(r.sent)},
                           {"wire", r.wire}});
  j["notes"] = m.notes;
  return j;
}

}  // namespace reckon::calculators
