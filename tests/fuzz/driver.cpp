// main() for compilers without libFuzzer: damaged copies of seed files go through the target until the time or
// the number of inputs is used up. Input i is a function of the seed files, --seed and i alone, so a finding
// can be had again with --first i --count 1; it is also written to a file, which can be given in place of the
// seeds with --count 0.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

#include "runtime/core/rng.h"
#include "tests/fuzz/target.h"

namespace {

namespace fs = std::filesystem;
constexpr unsigned kHangSeconds = 20;
constexpr size_t kLongest = 64 << 10;
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kLimitsMemory = false;  // the sanitizer reserves terabytes of addresses
#else
constexpr bool kLimitsMemory = true;
#endif

// For the signal handler: the input under test and where it goes.
const char* current_data = nullptr;
size_t current_size = 0;
uint64_t current_number = 0;
char finding_file[256];

void keep_finding(const char* what) {
  if (FILE* file = std::fopen(finding_file, "wb")) {
    std::fwrite(current_data, 1, current_size, file);
    std::fclose(file);
  }
  std::fprintf(stderr, "input %llu (%zu bytes): %s; kept in %s\n",
               static_cast<unsigned long long>(current_number), current_size, what, finding_file);
}

void on_signal(int number) {
  keep_finding(number == SIGALRM ? "no answer, a hang" : strsignal(number));
  _exit(1);
}

bool survives(const std::string& input) {
  // A heap copy of exactly its size lets the address sanitizer see reads past the end.
  const std::unique_ptr<char[]> exact(new char[input.size()]);
  std::copy(input.begin(), input.end(), exact.get());
  current_data = exact.get();
  current_size = input.size();
  alarm(kHangSeconds);
  try {
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(exact.get()), input.size());
  } catch (const std::exception& e) {
    keep_finding(e.what());
    return false;
  }
  alarm(0);
  return true;
}

// Numbers and pieces of syntax that parsers take for special.
constexpr std::string_view kTokens[] = {"0",
                                        "-1",
                                        "1e999",
                                        "1.5",
                                        "9223372036854775807",
                                        "9223372036854775808",
                                        "1e30",
                                        "-0",
                                        "null",
                                        "true",
                                        "4294967296",
                                        "18446744073709551615",
                                        "\"\"",
                                        "[]",
                                        "{}",
                                        "[[[[",
                                        "\\u0000",
                                        "\xc3\xa9",
                                        "\xff",
                                        "\r\n",
                                        ">",
                                        "//",
                                        "-",
                                        "\x1f\x8b"};

std::string damaged(const std::vector<std::string>& seeds, reckon::Philox rng) {
  uint64_t counter = 0;
  auto draw = [&] { return rng(counter++); };
  std::string s = seeds[draw()[0] % seeds.size()];
  const uint32_t edits = 1 + draw()[0] % 5;
  for (uint32_t e = 0; e < edits; ++e) {
    const auto d = draw();
    const size_t at = s.empty() ? 0 : d[1] % s.size(), length = std::min<size_t>(1 + d[2] % 24, s.size() - at);
    switch (d[0] % 9) {
      case 0:
        if (!s.empty()) s[at] = static_cast<char>(s[at] ^ (1 << (d[3] % 8)));
        break;
      case 1:
        if (!s.empty()) s[at] = static_cast<char>(d[3]);
        break;
      case 2:
        s.erase(at, length);
        break;
      case 3:
        s.insert(at, s.substr(at, length));
        break;
      case 4:
        s.insert(at, kTokens[d[3] % std::size(kTokens)]);
        break;
      case 5: {  // a number, or a word, becomes another one
        size_t from = s.find_first_of("0123456789tfn", at);
        if (from == std::string::npos) break;
        const size_t end = std::min(s.find_first_not_of("0123456789.eE+-aflrstun", from), s.size());
        s.replace(from, end - from, kTokens[d[3] % std::size(kTokens)]);
        break;
      }
      case 6: {  // a piece of any seed, here
        const std::string& other = seeds[d[3] % seeds.size()];
        if (other.empty()) break;
        const size_t there = draw()[0] % other.size();
        s.replace(at, length, other.substr(there, 1 + d[2] % 64));
        break;
      }
      case 7:  // deep or long
        s.insert(at, std::string(size_t{1} << (d[3] % 14), "[{(A-0 \n"[d[2] % 8]));
        break;
      default:
        s.resize(at);
    }
    if (s.size() > kLongest) s.resize(kLongest);
  }
  return s;
}

}  // namespace

int main(int argc, char** argv) {
  double seconds = 3;
  uint64_t count = UINT64_MAX, first = 0, seed = 1;
  std::vector<fs::path> files;
  for (int i = 1; i < argc; ++i) {
    const std::string_view a = argv[i];
    const bool option = a.starts_with("--");
    if (option && i + 1 == argc) return std::fprintf(stderr, "%s needs a value\n", argv[i]), 2;
    if (a == "--seconds")
      seconds = std::stod(argv[++i]);
    else if (a == "--count")
      count = std::stoull(argv[++i]);
    else if (a == "--first")
      first = std::stoull(argv[++i]);
    else if (a == "--seed")
      seed = std::stoull(argv[++i]);
    else if (option)
      return std::fprintf(stderr, "unknown option %s\n", argv[i]), 2;
    else if (fs::is_directory(a))
      std::copy(fs::directory_iterator(a), {}, std::back_inserter(files));
    else
      files.emplace_back(a);
  }
  std::sort(files.begin(), files.end());
  std::vector<std::string> seeds;
  for (const fs::path& path : files) {
    std::ifstream in(path, std::ios::binary);
    if (!in) return std::fprintf(stderr, "cannot read %s\n", path.c_str()), 2;
    seeds.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  if (seeds.empty())
    return std::fprintf(stderr, "usage: %s [--seconds S] [--count N] [--first I] [--seed K] SEEDS...\n",
                        argv[0]),
           2;
  std::snprintf(finding_file, sizeof finding_file, "finding-%s", fs::path(argv[0]).filename().c_str());
  for (int number : {SIGALRM, SIGSEGV, SIGABRT, SIGFPE, SIGBUS}) std::signal(number, on_signal);
  if (kLimitsMemory) {  // an absurd allocation must fail here, not fill the machine
    const rlimit limit{rlim_t{4} << 30, rlim_t{4} << 30};
    setrlimit(RLIMIT_AS, &limit);
  }

  for (const std::string& s : seeds)
    if (!survives(s)) return 1;
  const auto start = std::chrono::steady_clock::now();
  const auto spent = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  uint64_t done = 0;
  for (; done < count && spent() < seconds; ++done) {
    current_number = first + done;
    if (!survives(damaged(seeds, {seed, current_number}))) return 1;
  }
  std::printf("%zu seeds and %llu damaged copies: no finding\n", seeds.size(),
              static_cast<unsigned long long>(done));
  return 0;
}
