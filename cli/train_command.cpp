// reckon train: a training run with its books.
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/device_watch.h"
#include "cli/devices.h"
#include "cli/machine.h"
#include "cli/run_flags.h"
#include "cli/typed_flags.h"
#include "models/train/checkpoint_file.h"
#include "models/train/trainer.h"
#include "profiler/device_report.h"
#include "profiler/html.h"
#include "profiler/json.h"
#include "profiler/ledger.h"
#include "profiler/report.h"
#include "profiler/trace.h"
#include "runtime/core/format.h"
#include "runtime/cpu/isa.h"

namespace reckon::cli {
namespace {

struct TrainFlags : RunFlags {
  std::string json, out, resume, trace, html, export_to, ledger = "on", report = "summary", trace_device = "on";
  DType export_dtype = DType::f32;
  int64_t save_every = 0;
};

// About fifteen lines a run, and never more than two seconds of silence.
class Progress {
 public:
  Progress(const models::RunOptions& o, std::string item, double peak_rate)
      : options_(o), item_(std::move(item)), peak_rate_(peak_rate) {}

  void step(const models::StepReport& r, const Device& device, const profiler::Ledger* ledger) {
    const auto now = std::chrono::steady_clock::now();
    const bool last = r.step + 1 == options_.steps;
    const int64_t stride = std::max<int64_t>(1, options_.steps / 15);
    if (!last && r.step != 0 && (r.step + 1) % stride != 0 && now - printed_ < std::chrono::seconds(2)) return;
    if (options_.steps > 1000 && !last && r.step != 0 && now - printed_ < std::chrono::seconds(1)) return;
    printed_ = now;
    const ArenaStats s = device.arena().stats();
    std::string line =
        fmt::format("step {:>{}}/{}", r.step + 1, std::to_string(options_.steps).size(), options_.steps);
    line += r.loss ? fmt::format("  loss {:.4f}", *r.loss) : "  loss unknown (no data)";
    if (r.grad_norm) line += fmt::format("  |grad| {:.3f}", *r.grad_norm);
    line += fmt::format("  lr {:.2e}", r.lr);
    if (device.executes())
      line += fmt::format("  {} {}/s", format_scaled(static_cast<double>(r.items) / r.seconds), item_);
    line += fmt::format("  live {}  peak {}", format_bytes(static_cast<double>(s.requested)),
                        format_bytes(static_cast<double>(s.peak_requested)));
    if (ledger && device.executes() && peak_rate_ > 0 && ledger->books().last) {
      const auto cost = ledger->books().last->cost_by_phase();
      int64_t model = 0;
      for (Phase p : {Phase::forward, Phase::loss, Phase::backward})
        model += cost[static_cast<size_t>(p)].matmul_flops;
      line += fmt::format("  MFU {:.0f} %", 100.0 * static_cast<double>(model) / r.seconds / peak_rate_);
    }
    fmt::print("{}\n", line);
    std::fflush(stdout);
  }

 private:
  models::RunOptions options_;
  std::string item_;
  double peak_rate_;
  std::chrono::steady_clock::time_point printed_{};
};

std::filesystem::path checkpoint_path(const TrainFlags& f) {
  return std::filesystem::path(f.out) / "checkpoint.safetensors";
}

// Writing must be known to work before hours of training, not after.
void check_writable(const std::string& path) {
  if (path.empty()) return;
  const std::filesystem::path p(path);
  const auto folder = p.has_parent_path() ? p.parent_path() : std::filesystem::path(".");
  RECKON_CHECK(std::filesystem::is_directory(folder) && access(folder.c_str(), W_OK) == 0 &&
                   !std::filesystem::is_directory(p),
               "cannot write '{}': its folder must exist and be writable, and it must not be a folder itself",
               path);
}

void make_folder(const std::string& folder) {
  if (folder.empty()) return;
  std::error_code ec;
  std::filesystem::create_directories(folder, ec);
  RECKON_CHECK(!ec && access(folder.c_str(), W_OK) == 0, "cannot write to the folder '{}'", folder);
}

bool keeps_books(const TrainFlags& f) { return f.ledger == "on"; }

void check_output(const TrainFlags& f) {
  RECKON_CHECK(f.save_every >= 0, "--save-every must not be negative, got {}", f.save_every);
  RECKON_CHECK(f.save_every == 0 || !f.out.empty(), "--save-every needs --out FOLDER for the checkpoints");
  for (const std::string& path : {f.json, f.trace, f.html}) check_writable(path);
  RECKON_CHECK(keeps_books(f) || f.trace_device != "counters",
               "--ledger off leaves no books to file --trace-device counters in");
  RECKON_CHECK(keeps_books(f) || (f.json.empty() && f.trace.empty() && f.html.empty()),
               "--ledger off leaves nothing to write with --json, --trace or --html");
}

void make_folders(const TrainFlags& f, const models::RunOptions& options) {
  if (!f.export_to.empty()) {
    RECKON_CHECK(models::family_named(options.family).exports_folder,
                 "--export writes a Hugging Face folder, which {} has no form for: use --out", options.family);
    RECKON_CHECK(options.device != DeviceKind::meta, "--export needs values, and --device meta has none");
  }
  make_folder(f.export_to);
  make_folder(f.out);
}

// Says what runs where; the rate of this hardware's products, 0 where nothing runs.
double introduce(const models::TrainTask& task, const models::RunOptions& options, const Device& device) {
  const bool on_gpu = options.device == DeviceKind::cuda;
  const double rate = on_gpu              ? measure_gpu_matmul_rate(options.dtype)
                      : device.executes() ? measure_matmul_rate(options.dtype, device.spec())
                                          : 0;
  fmt::print("{}\n", task.describe());
  if (!task.loaded.empty()) fmt::print("{}\n", task.loaded);
  fmt::print("device {} ({}), dtype {}, checkpoint {}, fuse {}", name_of(options.device),
             hardware_of(device.spec()), name_of(options.dtype), autograd::name_of(options.checkpoint),
             options.fuse.to_string());
  fmt::print("{}\n", rate > 0 ? fmt::format("; MFU against {}FLOP/s, a {}^3 {} product measured now",
                                            format_scaled(rate), on_gpu ? 4096 : 1024, name_of(options.dtype))
                              : "");
  return rate;
}

void write_books(const TrainFlags& f, const profiler::RunRecord& record, const profiler::Ledger& ledger) {
  fmt::print("\n");
  std::fflush(stdout);
  if (f.report == "full")
    profiler::write_report(std::cout, record);
  else if (f.report == "summary")
    profiler::write_summary(std::cout, record);
  if (f.report == "summary" && record.device) {
    std::cout << '\n';
    profiler::write_device(std::cout, *record.device, record.books.for_work());
  }
  std::cout.flush();
  if (!f.json.empty()) profiler::save_run(f.json, record);
  if (!f.out.empty()) profiler::save_run(f.out, record);
  if (!f.trace.empty()) profiler::write_trace(f.trace, ledger.last_step_events());
  if (!f.html.empty()) profiler::write_html(f.html, record, ledger.last_step_events());
}

void run(TrainFlags f) {
  DeviceWatch::check(f.trace_device, f.options.device);
  const bool books = keeps_books(f);
  const std::string trace_device = books ? f.trace_device : "off";
  std::unique_ptr<Backend> backend = fall_back_to_cpu(f.options.device, trace_device != "off");
  check_output(f);
  const models::RunOptions options = f.resolved(0);
  make_folders(f, options);

  const auto device = f.machine.make_device(options.device, std::move(backend));
  profiler::Ledger ledger;
  if (books) device->add_sink(&ledger);
  const int64_t first_step = f.resume.empty() ? 0 : models::steps_in_checkpoint(f.resume);
  profiler::RunRecord record;
  {
    DeviceWatch watch(*device, trace_device, options.dtype, first_step, options.steps - first_step);
    models::Trainer trainer(options, *device, /*with_data=*/!options.data.empty() || device->executes(),
                            first_step);
    if (!f.resume.empty()) {
      trainer.resume(f.resume);
      fmt::print("resumed after {} steps from {}\n", first_step, f.resume);
    }
    const double rate = introduce(trainer.task(), options, *device);
    if (trainer.done())
      fmt::print("nothing to do: {} of {} steps are in the checkpoint\n", first_step, options.steps);

    Progress progress(options, models::family_named(options.family).item, rate);
    while (!trainer.done()) {
      const models::StepReport r = trainer.step();
      progress.step(r, *device, books ? &ledger : nullptr);
      if (r.loss) {
        record.losses.push_back(*r.loss);
        RECKON_CHECK(std::isfinite(*r.loss),
                     "the loss is {} after step {}: run again with --check-nan to see which op made it{}",
                     *r.loss, r.step + 1, f.out.empty() ? "" : "; the last checkpoint is untouched");
      }
      if (!f.out.empty() && ((f.save_every > 0 && trainer.steps_done() % f.save_every == 0) || trainer.done()))
        trainer.save(checkpoint_path(f));
    }
    if (!f.export_to.empty()) {
      trainer.task().export_folder(f.export_to, f.export_dtype);
      fmt::print("model written to {} ({})\n", f.export_to, name_of(f.export_dtype));
    }
    if (record.losses.size() > 1)
      fmt::print("loss: first {:.4f}, last {:.4f}\n", record.losses.front(), record.losses.back());
    if (books) record.process = profiler::measure_process(device->arena());
    record.device = watch.finish();
  }
  if (!books) return;
  ledger.close();
  record.config = run_config(options, device->spec());
  record.books = ledger.books();
  write_books(f, record, ledger);
}

}  // namespace

void add_train(CLI::App& app) {
  auto f = std::make_shared<TrainFlags>();
  CLI::App* c = app.add_subcommand("train", "Train a model and keep the books of every step");
  add_run_flags(*c, *f, true);
  auto* output = "Output";
  c->add_option("--json", f->json, "File for the whole ledger and the summary")->group(output);
  c->add_option("--out", f->out,
                "Folder for run.json and checkpoint.safetensors (written at the end and with --save-every)")
      ->group(output);
  c->add_option("--save-every", f->save_every, "Steps between checkpoints; 0: only at the end")
      ->capture_default_str()
      ->group(output);
  c->add_option("--resume", f->resume, "Checkpoint to continue from, bit for bit as if never stopped")
      ->group(output);
  const auto exports = [](const models::Family& of) { return of.exports_folder; };
  c->add_option(
       "--export", f->export_to,
       models::families_that(exports, ", ") + ": Hugging Face folder for the trained model (adapters merged)")
      ->group(output);
  add_dtype(*c, "--export-dtype", f->export_dtype, "f32, bf16 or f16: type of the exported weights",
            {"f32", "bf16", "f16"})
      ->group(output);
  add_choice(*c, "--report", f->report, {"full", "summary", "none"}, "full, summary or none")->group(output);
  c->add_option("--trace", f->trace, "File for a Chrome/Perfetto trace of the last step")->group(output);
  c->add_option("--html", f->html, "File for an offline HTML report of the last step")->group(output);
  add_choice(*c, "--trace-device", f->trace_device, {"on", "off", "counters"},
             "cuda: on: launches, times and memory as the GPU has them; counters: FLOPs and bytes of its "
             "counters too, "
             "over three steps that are not traced; off")
      ->group(output);
  add_choice(*c, "--ledger", f->ledger, {"on", "off"}, "on or off (no books, no reports)")->group(output);
  c->callback([f] { run(*f); });
}

}  // namespace reckon::cli
