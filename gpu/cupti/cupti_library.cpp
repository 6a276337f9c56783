#include "gpu/cupti/cupti_library.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <vector>

namespace reckon::profiler::cupti {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSoname = "libcupti.so." RECKON_CUPTI_MAJOR;

std::vector<fs::path> candidates() {
  std::error_code ec;
  if (const char* named = std::getenv("RECKON_CUPTI"); named && *named)
    return {fs::is_directory(named, ec) ? fs::path(named) / kSoname : fs::path(named)};
  std::vector<fs::path> found;
  for (const fs::path& folder :
       {fs::path(RECKON_CUPTI_FOLDER), fs::path(RECKON_CUPTI_FOLDER) / "../extras/CUPTI/lib64"})
    if (fs::exists(folder / kSoname, ec)) found.push_back(folder / kSoname);
  found.emplace_back(kSoname);
  return found;
}

void* open_file(const fs::path& file) {
  // The library asks for this one by its bare name and does not say so when it is
  // not found: make it known first.
  if (file.has_parent_path()) dlopen((file.parent_path() / "libnvperf_host.so").c_str(), RTLD_NOW | RTLD_LOCAL);
  return dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
}

struct Opened {
  Library library;
  bool usable = false;
  std::string why;

  Opened() {
    void* handle = nullptr;
    for (const fs::path& file : candidates()) {
      handle = open_file(file);
      if (handle) {
        library.file = file.string();
        break;
      }
      why = fmt::format("libcupti cannot be opened: {}", dlerror());
    }
    if (!handle) return;
    const auto find = [&](const char* name) {
      void* address = dlsym(handle, name);
      if (!address && why.empty())
        why = fmt::format("{} lacks {}: CUPTI {} or later is needed", library.file, name,
                          version_text(CUPTI_API_VERSION));
      return address;
    };
    why.clear();
#define RECKON_CUPTI_FIND(name) library.name = reinterpret_cast<decltype(library.name)>(find(#name));
    RECKON_CUPTI_FUNCTIONS(RECKON_CUPTI_FIND)
#undef RECKON_CUPTI_FIND
    if (!why.empty()) return;
    library.cuptiGetVersion(&library.version);
    // Records only grow at their end: an older library writes shorter ones than this code reads.
    if (library.version < CUPTI_API_VERSION)
      why = fmt::format("{} is CUPTI {}, and this was built for {} or later", library.file,
                        version_text(library.version), version_text(CUPTI_API_VERSION));
    usable = why.empty();
  }
};

}  // namespace

std::string version_text(uint32_t version) {
  if (version < 10000) return fmt::format("API {}", version);
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

std::string Library::name() const { return fmt::format("CUPTI {}", version_text(version)); }

const Library* open_library(std::string* why) {
  static const Opened& opened = *new Opened;  // never destroyed: CUPTI's threads may still call in at exit
  if (opened.usable) return &opened.library;
  *why = opened.why;
  return nullptr;
}

}  // namespace reckon::profiler::cupti
