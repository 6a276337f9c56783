#include "studies/journal.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "autograd/engine.h"
#include "autograd/fusion.h"
#include "autograd/node.h"
#include "calculators/devices.h"
#include "calculators/quantity.h"
#include "models/nn/pair_updates.h"
#include "profiler/audit.h"
#include "profiler/ledger.h"
#include "profiler/table.h"
#include "runtime/core/format.h"
#include "runtime/events/scope.h"

namespace reckon::calculators {
namespace {

constexpr size_t kSingleDevice = 2;  // the row that claims to fit one A100

JournalRow row(int64_t b, int64_t r, int64_t c, int64_t heads, std::string claim) {
  JournalRow j{b, r, c, heads, std::move(claim), "", {}, {}, {}, {}};
  const Exact B = b;
  j.outer_product = B * r * r * c * c * 4;
  j.scores = B * heads * r * r * 4;
  j.qkv = 3 * B * r * c * 4;
  j.projected = B * r * c * c * 4;
  return j;
}

struct PassResult {
  std::vector<Event> events;
  std::vector<float> update;
  int64_t peak = 0, largest_forward = 0, matmul = 0;
  double seconds = 0;
};

// The module on one row per sample, as the journal's model uses it: nothing is averaged.
PassResult pass(DeviceKind kind, const DeviceSpec& spec, int64_t B, int64_t r, int64_t c, int64_t c_m,
                int64_t c_z, bool at_once) {
  Device device(kind, spec);
  profiler::Ledger ledger;
  ledger.keep_events(true);
  device.add_sink(&ledger);
  PassResult out;
  const auto begin = std::chrono::steady_clock::now();
  {
    models::ParameterSet parameters;
    models::OuterProductMean module;
    const autograd::FusionScope fusions(autograd::FusionSet::parse(at_once ? "outer-product" : "none"));
    {
      PhaseScope phase(Phase::init);
      models::Builder b(device, DType::f32, 1, parameters);
      module = models::OuterProductMean(b, "opm", c_m, c, c_z);
    }
    // The published start is a zero projection, which would compare nothing.
    if (device.executes())
      for (size_t i = 0; i < static_cast<size_t>(module.linear_out.weight.numel()); ++i)
        module.linear_out.weight.data<float>()[i] =
            static_cast<float>(std::sin(static_cast<double>(i) * 0.7) / static_cast<double>(c));
    std::vector<float> values(static_cast<size_t>(B * r * c_m));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(std::sin(static_cast<double>(i) * 0.37));
    Tensor m = Tensor::from_host(device, {B, 1, r, c_m}, DType::f32, values.data(), values.size() * 4,
                                 Category::input, "m");
    autograd::set_requires_grad(m);
    Tensor update;
    {
      PhaseScope phase(Phase::forward);
      update = module(m, {}, models::OuterDivision::none);
    }
    if (device.executes()) out.update.assign(update.data<float>(), update.data<float>() + update.numel());
    const std::vector<float> ones(static_cast<size_t>(update.numel()), 1.0f);
    const Tensor seed = Tensor::from_host(device, update.shape(), DType::f32, ones.data(), ones.size() * 4,
                                          Category::input, "seed");
    autograd::backward(update, seed);
  }
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  ledger.close();
  out.events.assign(ledger.events().begin(), ledger.events().end());
  out.peak = ledger.books().for_memory().peak_bytes;
  for (const Event& e : out.events) {
    if (e.kind == EventKind::allocated && e.phase == Phase::forward && e.category != Category::workspace)
      out.largest_forward = std::max(out.largest_forward, e.bytes);
    if (e.kind == EventKind::op_end && e.phase == Phase::forward) out.matmul += e.cost.matmul_flops;
  }
  return out;
}

}  // namespace

std::vector<JournalRow> journal_rows() {
  std::vector<JournalRow> rows{
      row(32, 501, 128, 0, "outer product about 500 GB"),
      row(16, 400, 128, 4, "outer product about 170 GB, scores 41 MB"),
      row(16, 500, 64, 4, "about 65 GB: should run on a single A100"),
      row(32, 500, 128, 4, "q, k, v 8 MB, scores 128 MB, outer product 524,288 MB"),
  };
  for (JournalRow& r : rows) {
    r.verdict =
        fmt::format("outer product {} = {}", decimal_bytes(r.outer_product), binary_bytes(r.outer_product));
    if (r.heads > 0)
      r.verdict += fmt::format("; scores {}; q, k, v {} (one of the three {})", decimal_bytes(r.scores),
                               decimal_bytes(r.qkv), decimal_bytes(r.qkv / 3));
  }
  return rows;
}

JournalExperiment run_outer_product(int64_t batch, int64_t tokens, int64_t channels, bool on_cpu,
                                    const DeviceSpec& spec) {
  RECKON_CHECK(
      batch >= 1 && tokens >= 1 && channels >= 1 && batch <= 4096 && tokens <= 1 << 16 && channels <= 4096,
      "the outer product needs a batch of 1 to 4096, 1 to 65536 tokens and 1 to 4096 channels, got {}, {} and "
      "{}",
      batch, tokens, channels);
  JournalExperiment e;
  e.batch = batch;
  e.tokens = tokens;
  e.channels = channels;
  e.pair_channels = e.model_channels = 128;
  if (on_cpu) {
    const Exact bytes = Exact(batch) * tokens * tokens * channels * channels * 4;
    RECKON_CHECK(bytes * 4 < (int64_t{4} << 30),
                 "storing {} of outer products and their gradients is too much for a demonstration: fewer "
                 "tokens or channels",
                 binary_bytes(bytes));
  }
  std::vector<float> results[2];
  for (const bool at_once : {false, true}) {
    OuterProductRun& r = at_once ? e.projected : e.stored;
    r.project_at_once = at_once;
    const PassResult dry =
        pass(DeviceKind::meta, spec, batch, tokens, channels, e.model_channels, e.pair_channels, at_once);
    r.predicted_peak = dry.peak;
    r.stored_outer_bytes = dry.largest_forward;
    r.matmul_flops = dry.matmul;
    r.n_events = static_cast<int64_t>(dry.events.size());
    if (!on_cpu) continue;
    PassResult real =
        pass(DeviceKind::cpu, spec, batch, tokens, channels, e.model_channels, e.pair_channels, at_once);
    r.measured_peak = real.peak;
    r.seconds = real.seconds;
    r.events_equal = profiler::audit(dry.events, real.events).equal;
    results[at_once] = std::move(real.update);
  }
  if (!on_cpu) return e;
  double most = 0, apart = 0;
  for (size_t i = 0; i < results[0].size(); ++i) {
    most = std::max(most, std::fabs(static_cast<double>(results[0][i])));
    apart = std::max(apart, std::fabs(static_cast<double>(results[0][i]) - static_cast<double>(results[1][i])));
  }
  RECKON_CHECK(most > 0, "the outer products are all zero: nothing was compared");
  e.largest_difference = apart / most;
  return e;
}

Journal explain_journal(int64_t tokens, int64_t channels, const DeviceSpec& spec) {
  Journal j;
  j.rows = journal_rows();
  j.experiment = run_outer_product(1, tokens, channels, true, spec);
  for (const size_t i : {size_t{0}, kSingleDevice}) {
    JournalRow& r = j.rows[i];
    j.full_size.push_back(run_outer_product(r.batch, r.tokens, r.channels, false, spec));
    const JournalExperiment& e = j.full_size.back();
    r.verdict += fmt::format(
        "; forward and backward of this module alone peak at {} stored, {} projected at once (dry run)",
        decimal_bytes(e.stored.predicted_peak), decimal_bytes(e.projected.predicted_peak));
    const int64_t card = device_named("A100").memory_bytes;
    if (i == kSingleDevice)
      r.verdict += e.stored.predicted_peak > card
                       ? fmt::format(": more than the {} of one A100, and every further layer keeps another {}",
                                     decimal_bytes(card), decimal_bytes(r.outer_product))
                       : fmt::format(": within the {} of one A100", decimal_bytes(card));
  }
  return j;
}

void write_journal(std::ostream& out, const Journal& j) {
  out << "The journal's table, recomputed (f32; B batch, r genes + 1 tokens, c channels)\n";
  profiler::Table t("rrrrrrrr", {"B", "r", "c", "heads", "outer product [B,r,r,c,c] [f]",
                                 "q, k, v together [f]", "scores [f]", "projected at once [f]"});
  for (const JournalRow& r : j.rows)
    t.row({std::to_string(r.batch), std::to_string(r.tokens), std::to_string(r.channels),
           r.heads ? std::to_string(r.heads) : "-",
           fmt::format("{} = {}", format_count(r.outer_product), decimal_bytes(r.outer_product)),
           decimal_bytes(r.qkv), r.heads ? decimal_bytes(r.scores) : "-", decimal_bytes(r.projected)});
  t.print(out);
  out << "\n";
  for (const JournalRow& r : j.rows)
    out << fmt::format("  B {}, r {}, c {}: claimed \"{}\"\n    {}\n", r.batch, r.tokens, r.channels, r.claim,
                       r.verdict);
  const Exact reference = Exact(256) * 256 * 32 * 32 * 4;
  out << fmt::format(
      "  for reference, AlphaFold 2 in training, one sample per 16 GiB core: [1, 256, 256, 32, 32] is {}\n",
      decimal_bytes(reference));
  out << "\nThe journal's wish, project each outer product at once instead of storing it, is exact and "
         "cheaper:\n"
         "  W vec(a_i b_j') = (W reshaped to [c_z, c, c] times a_i) b_j, so one [c_z, c] matrix per token i "
         "replaces all its products\n";
  const auto print = [&](const JournalExperiment& e, bool measured) {
    profiler::Table x(
        "lrrrrr", {"outer product mean, forward + backward", "largest tensor forward [c]", "predicted peak [c]",
                   measured ? "measured peak [c]" : "", "matmul forward [f]", measured ? "time [m]" : ""});
    for (const OuterProductRun* r : {&e.stored, &e.projected})
      x.row({r->project_at_once ? "projected at once (--fuse outer-product)" : "stored",
             binary_bytes(r->stored_outer_bytes), format_count(r->predicted_peak),
             measured ? fmt::format("{} {}", format_count(r->measured_peak),
                                    r->measured_peak == r->predicted_peak ? "equal" : "DIFFERENT")
                      : "",
             format_count(r->matmul_flops), measured ? format_seconds(r->seconds) : ""});
    x.print(out);
    out << fmt::format(
        "  peak over the outer product once: stored {:.2f}; stored over projected: peak {:.1f}, matmul "
        "{:.1f}\n",
        static_cast<double>(e.stored.predicted_peak) /
            (Exact(e.batch) * e.tokens * e.tokens * e.channels * e.channels * 4).to_double(),
        static_cast<double>(e.stored.predicted_peak) / static_cast<double>(e.projected.predicted_peak),
        static_cast<double>(e.stored.matmul_flops) / static_cast<double>(e.projected.matmul_flops));
  };
  const JournalExperiment& e = j.experiment;
  out << fmt::format("\nRun here, B {}, r {}, c {}, c_m = c_z = {}: dry run against CPU, {} and {} events {}\n",
                     e.batch, e.tokens, e.channels, e.pair_channels, format_count(e.stored.n_events),
                     format_count(e.projected.n_events),
                     e.stored.events_equal && e.projected.events_equal ? "equal, one for one" : "DIFFERENT");
  print(e, true);
  out << fmt::format("  the two results differ by {:.1e} of the largest element [m]\n", e.largest_difference);
  for (const JournalExperiment& full : j.full_size) {
    out << fmt::format("\nThe journal's row B {}, r {}, c {} as a dry run\n", full.batch, full.tokens,
                       full.channels);
    print(full, false);
  }
}

nlohmann::ordered_json journal_json(const Journal& j) {
  using Json = nlohmann::ordered_json;
  Json rows = Json::array();
  for (const JournalRow& r : j.rows)
    rows.push_back({{"batch", r.batch},
                    {"tokens", r.tokens},
                    {"channels", r.channels},
                    {"heads", r.heads},
                    {"claim", r.claim},
                    {"verdict", r.verdict},
                    {"outer_product_bytes", r.outer_product.to_int64("bytes")},
                    {"scores_bytes", r.scores.to_int64("bytes")},
                    {"qkv_bytes", r.qkv.to_int64("bytes")},
                    {"projected_bytes", r.projected.to_int64("bytes")}});
  const auto experiment = [](const JournalExperiment& e) {
    const auto one = [](const OuterProductRun& r) {
      return Json{{"predicted_peak", r.predicted_peak},
                  {"measured_peak", r.measured_peak},
                  {"events", r.n_events},
                  {"events_equal", r.events_equal},
                  {"largest_forward_tensor", r.stored_outer_bytes},
                  {"matmul_flops", r.matmul_flops},
                  {"seconds", r.seconds}};
    };
    return Json{{"batch", e.batch},
                {"tokens", e.tokens},
                {"channels", e.channels},
                {"pair_channels", e.pair_channels},
                {"largest_difference", e.largest_difference},
                {"stored", one(e.stored)},
                {"projected", one(e.projected)}};
  };
  Json full = Json::array();
  for (const JournalExperiment& e : j.full_size) full.push_back(experiment(e));
  return {{"rows", rows}, {"run", experiment(j.experiment)}, {"full_size_dry_runs", full}};
}

}  // namespace reckon::calculators
