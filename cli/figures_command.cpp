// reckon figures: the published figures of AF3-style training, each from dry runs, as tables and pictures.
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "profiler/table.h"
#include "runtime/core/error.h"
#include "runtime/core/format.h"
#include "studies/af3_sheets.h"

namespace reckon::cli {
namespace {

struct FiguresFlags {
  std::string folder;
  std::vector<std::string> only;
};

void run(const FiguresFlags& f) {
  std::vector<NamedSheet> chosen = all_sheets();
  if (!f.only.empty()) {
    std::vector<std::string> names;
    for (const NamedSheet& s : chosen) names.push_back("'" + s.name + "'");
    std::vector<NamedSheet> some;
    for (const std::string& name : f.only) {
      const auto it =
          std::find_if(chosen.begin(), chosen.end(), [&](const NamedSheet& s) { return s.name == name; });
      RECKON_CHECK(it != chosen.end(), "there is no figure '{}': expected some of {}", name,
                   fmt::join(names, ", "));
      some.push_back(*it);
    }
    chosen = std::move(some);
  }
  std::error_code ec;
  std::filesystem::create_directories(f.folder, ec);
  RECKON_CHECK(!ec && access(f.folder.c_str(), W_OK) == 0, "cannot write to the folder '{}'", f.folder);

  std::vector<Sheet> sheets;
  profiler::Table table("llrr", {"figure", "files", "largest deviation", "time"});
  for (const NamedSheet& named : chosen) {
    fmt::print(stderr, "{} ...\n", named.name);
    const auto begin = std::chrono::steady_clock::now();
    Sheet s = named.make();
    write(s, f.folder);
    const double worst = s.worst_deviation();
    table.row(
        {s.title + (s.estimate ? " (estimate)" : ""), s.id + (s.svg.empty() ? ".csv .json" : ".csv .json .svg"),
         worst < 0 ? "-" : fmt::format("{:.1f} %", worst),
         format_seconds(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count())});
    sheets.push_back(std::move(s));
  }
  write_page(sheets, f.folder);
  fmt::print("{}/index.html shows all of them\n\n", f.folder);
  std::fflush(stdout);
  table.print(std::cout);
}

}  // namespace

void add_figures(CLI::App& app) {
  auto f = std::make_shared<FiguresFlags>();
  CLI::App* c = app.add_subcommand(
      "figures", "The published figures of AF3-style training from dry runs, with deviations: CSV, JSON, SVG");
  c->add_option("DIR", f->folder, "Folder for the files; made when missing")->required();
  c->add_option("--only", f->only, "Names of figures, such as 'operator events'; default: all");
  c->callback([f] { run(*f); });
}

}  // namespace reckon::cli
