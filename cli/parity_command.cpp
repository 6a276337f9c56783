// reckon parity: golden cases of public code, run here and compared.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>

#include "cli/commands.h"
#include "cli/devices.h"
#include "cli/typed_flags.h"
#include "parity/cases.h"

namespace reckon::cli {
namespace {

namespace fs = std::filesystem;
using parity::Check;
using parity::Report;

std::vector<fs::path> collect(const std::vector<std::string>& paths) {
  std::vector<fs::path> files;
  for (const std::string& p : paths) {
    RECKON_CHECK(fs::exists(p), "{}: no such file or folder", p);
    if (!fs::is_directory(p)) {
      files.emplace_back(p);
      continue;
    }
    for (const auto& entry : fs::recursive_directory_iterator(p)) {
      const fs::path& f = entry.path();
      if (entry.is_regular_file() && (f.extension() == ".safetensors" || f.extension() == ".json"))
        files.push_back(f);
    }
  }
  std::sort(files.begin(), files.end());
  RECKON_CHECK(!files.empty(), "no .safetensors or .json file in {}", fmt::join(paths, ", "));
  return files;
}

void print_report(const Report& r, size_t width, bool verbose) {
  const std::string name = fs::path(r.file).stem().string();
  if (!r.not_a_case.empty() && r.problems.empty()) {
    fmt::print("{:<{}}  not a parity case: {}\n", name, width, r.not_a_case);
    return;
  }
  if (!r.problems.empty() && r.checks.empty()) {
    fmt::print("{:<{}}  {:<30} FAIL  {}\n", name, width, r.kind, r.problems[0]);
  } else if (const Check* w = r.worst()) {
    fmt::print("{:<{}}  {:<30} {}  {:>4} compared  worst {:.2e} of {:.0e}  {}\n", name, width, r.kind,
               r.passed() ? "pass" : "FAIL", r.checks.size(), w->error, w->tolerance, w->tensor);
  } else {
    fmt::print("{:<{}}  {:<30} FAIL  nothing was compared\n", name, width, r.kind);
  }
  const bool first_shown = !r.problems.empty() && r.checks.empty();
  for (size_t i = first_shown ? 1 : 0; i < r.problems.size(); ++i)
    fmt::print("    problem: {}\n", r.problems[i]);
  for (const Check& c : r.checks)
    if (verbose || !c.passed())
      fmt::print("    {:<60} {:>10.2e} of {:.0e}  {}\n", c.tensor, c.error, c.tolerance,
                 c.passed() ? "pass" : "FAIL");
  if (verbose)
    for (const auto& [tensor, reason] : r.ignored) fmt::print("    {:<60} ignored: {}\n", tensor, reason);
}

parity::Json to_json(const Report& r) {
  parity::Json j{{"file", r.file}, {"kind", r.kind}, {"passed", r.passed()}, {"problems", r.problems}};
  if (!r.not_a_case.empty()) j["not_a_case"] = r.not_a_case;
  j["checks"] = parity::Json::array();
  for (const Check& c : r.checks)
    j["checks"].push_back(
        {{"tensor", c.tensor}, {"error", c.error}, {"tolerance", c.tolerance}, {"passed", c.passed()}});
  j["ignored"] = parity::Json::array();
  for (const auto& [tensor, reason] : r.ignored)
    j["ignored"].push_back({{"tensor", tensor}, {"reason", reason}});
  return j;
}

}  // namespace

void add_parity(CLI::App& app) {
  struct Flags {
    std::vector<std::string> paths;
    parity::Settings settings;
    std::string json;
    bool verbose = false;
  };
  auto f = std::make_shared<Flags>();
  CLI::App* c = app.add_subcommand(
      "parity", "Golden numbers of public code: run the same here, compare every output and gradient");
  c->add_option("PATH", f->paths, "Case files, or folders searched for .safetensors and .json")->required();
  add_dtype(*c, "--dtype", f->settings.dtype, "f64, f32 or bf16 (matrix products in bf16, the rest in f32)")
      ->check(CLI::IsMember({"f64", "f32", "bf16"}));
  add_device(*c, f->settings.device, "Where to run: cpu, cuda or meta");
  add_checkpoint(*c, f->settings.checkpoint, "none, selective, sublayer or block");
  add_fuse(*c, f->settings.fuse);
  c->add_option("--json", f->json, "Also write every comparison to this file");
  c->add_flag("--verbose", f->verbose, "Every tensor, not only the worst of each file");
  c->callback([f] {
    parity::Settings& settings = f->settings;
    settings.open_device = [kind = settings.device] { return open_device(kind, DeviceSpec::this_machine()); };
    const std::vector<fs::path> files = collect(f->paths);
    size_t width = 0;
    for (const fs::path& p : files) width = std::max(width, p.stem().string().size());
    parity::Json all = parity::Json::array();
    size_t passed = 0, not_cases = 0, checks = 0;
    for (const fs::path& p : files) {
      const Report r = parity::run_file(p, settings);
      print_report(r, width, f->verbose);
      std::fflush(stdout);
      checks += r.checks.size();
      if (!r.not_a_case.empty() && r.problems.empty())
        ++not_cases;
      else if (r.passed())
        ++passed;
      if (!f->json.empty()) all.push_back(to_json(r));
    }
    const size_t failed = files.size() - passed - not_cases;
    fmt::print(
        "{} files: {} pass, {} fail, {} not cases; {} comparisons  (--dtype {} --checkpoint {} --fuse {})\n",
        files.size(), passed, failed, not_cases, checks, name_of(settings.dtype),
        autograd::name_of(settings.checkpoint), settings.fuse.to_string());
    if (!f->json.empty()) {
      std::ofstream out(f->json);
      out << parity::Json{{"dtype", name_of(settings.dtype)},
                          {"checkpoint", autograd::name_of(settings.checkpoint)},
                          {"fuse", settings.fuse.to_string()},
                          {"files", all}}
                 .dump(1)
          << "\n";
      RECKON_CHECK(out.good(), "cannot write {}", f->json);
    }
    if (failed > 0) throw CLI::RuntimeError(1);
  });
}

}  // namespace reckon::cli
