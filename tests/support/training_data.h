// A text and an alignment that are small and can be learned, for tests of whole training runs. The folder goes
// with the object.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "runtime/core/rng.h"

namespace reckon::testing {

class TrainingData {
 public:
  // `sentence` stands `sentences` times in the text, numbered; the alignment has rows x columns residues.
  TrainingData(const std::string& name, const std::string& sentence, int sentences, uint64_t rows = 12,
               uint64_t columns = 16)
      : dir_(std::filesystem::temp_directory_path() / fmt::format("reckon_{}_{}", name, getpid())) {
    std::filesystem::create_directories(dir_);
    std::ofstream text_file(text());
    for (int i = 0; i < sentences; ++i) text_file << sentence << " " << i % 10 << ". ";
    std::ofstream alignment_file(alignment());
    const std::string residues = "ARNDCQEGHILKMFPSTWYV";
    const Philox random{5, 0};
    for (uint64_t r = 0; r < rows; ++r) {
      for (uint64_t c = 0; c < columns; ++c)
        alignment_file << residues[(3 * c + random(r * 16 + c)[0] % 2) % residues.size()];
      alignment_file << "\n";
    }
  }
  ~TrainingData() { std::filesystem::remove_all(dir_); }
  TrainingData(const TrainingData&) = delete;
  TrainingData& operator=(const TrainingData&) = delete;

  std::string text() const { return (dir_ / "text.txt").string(); }
  std::string alignment() const { return (dir_ / "rows.aln").string(); }
  std::string cache() const { return (dir_ / "cache").string(); }
  const std::filesystem::path& dir() const { return dir_; }

 private:
  std::filesystem::path dir_;
};

}  // namespace reckon::testing
