#include "autograd/fusion.h"
#include "autograd/hook.h"
#include "parity/cases.h"
#include "runtime/device.h"

namespace reckon::parity {

void run_case(Case& c, Books* books) {
  const autograd::FusionScope fusions(c.settings().fuse);
  if (c.has_meta("op")) return run_op_case(c, books);
  if (c.has_meta("family")) return run_qwen_case(c, books);
  if (c.has_meta("source") && c.has_meta("config")) return run_evoformer_case(c, books);
  raise_error("cannot run: the metadata names neither an op, nor a model family, nor a class with its config");
}

Report run_file(const std::filesystem::path& path, const Settings& settings) {
  Report report;
  report.file = path.string();
  autograd::install_hook();
  try {
    if (path.extension() == ".json") {
      run_json_case(path, settings, report);
      return report;
    }
    const std::unique_ptr<Device> device =
        settings.open_device ? settings.open_device()
                             : std::make_unique<Device>(settings.device, DeviceSpec::this_machine());
    Case c(path, settings, *device, report);
    run_case(c);
    c.finish();
  } catch (const Error& e) {
    report.problems.push_back(e.what());
  } catch (const Json::exception& e) {
    report.problems.push_back(std::string("cannot run: ") + e.what());
  }
  return report;
}

}  // namespace reckon::parity
