// A model family as the rest of the program sees it: its name and sizes, the settings it adds to a run, how its
// training task is made and what its closed forms say. Each models/<family>/family.cpp defines one;
// models/CMakeLists.txt names the folders and generates all_families(). The trainer and the
// commands that take any MODEL know families through this header only; generate, flops and the benches name theirs.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "models/train/options.h"
#include "models/train/task.h"
#include "runtime/core/exact.h"

namespace reckon::models {

// What a step of a preset takes where the run leaves it open; 0: resolve() of the
// family fills it in, or it has none.
struct StepSizes {
  int64_t batch = 1, seq = 0, rows = 0, steps = 0;
  double lr = 0;
};

// Where a flag stands in --help; a family may name a group of its own.
inline constexpr const char* kSizesGroup = "Model and sizes";
inline constexpr const char* kTrainingGroup = "Training";
inline constexpr const char* kDataGroup = "Data";  // only where data is read

// A setting of one family: a flag of the command line and, where `listed`, a line of RunOptions::describe()
// whose name is the flag's.
struct FamilySetting {
  std::string flag;  // "--chunk"; "--no-..." switches something off
  std::string help;
  std::function<void(RunOptions&, const std::string& text)> set;  // Error on text that is none
  std::function<std::string(const RunOptions&)> show;             // empty: not asked for, no line
  // A switch takes no text: it is set with "", or with "false" where somebody wrote --flag=false. Numbers and texts
  // are told apart by the parser of the command line.
  enum class Takes : uint8_t { text, whole_number, nothing } takes = Takes::text;
  std::string group = kSizesGroup;
  bool listed = true;
  bool binding = true;  // see SettingLine
  std::vector<std::string> excludes = {};

  std::string name() const;  // "chunk"
};

// Settings kept in a member of the family's own struct (RunOptions::own).
void read_setting(const std::string& flag, const std::string& text, int64_t& value);
void read_setting(const std::string& flag, const std::string& text, std::string& value);
void read_setting(const std::string& flag, const std::string& text, DType& value);
std::string shown_setting(int64_t value);
std::string shown_setting(const std::string& value);
std::string shown_setting(DType value);

template <class Own, class T>
FamilySetting setting(std::string flag, T Own::*member, std::string help) {
  return {
      .flag = flag,
      .help = std::move(help),
      .set = [flag, member](RunOptions& o,
                            const std::string& text) { read_setting(flag, text, o.own<Own>().*member); },
      .show = [member](const RunOptions& o) { return shown_setting(o.own<Own>().*member); },
      .takes = std::is_same_v<T, int64_t> ? FamilySetting::Takes::whole_number : FamilySetting::Takes::text};
}
// Puts `to` there.
template <class Own>
FamilySetting switch_to(bool to, std::string flag, bool Own::*member, std::string help) {
  return {.flag = std::move(flag),
          .help = std::move(help),
          .set = [to, member](RunOptions& o,
                              const std::string& text) { o.own<Own>().*member = to != (text == "false"); },
          .show = [member](const RunOptions& o) -> std::string { return o.own<Own>().*member ? "on" : "off"; },
          .takes = FamilySetting::Takes::nothing};
}

// What sizes alone say about parameters, to stand beside the count.
struct ParameterFormula {
  std::optional<int64_t> all = std::nullopt;  // of the whole model
  std::string parts;                          // "; 877,684,736 per layer"
  // Those that no gradient reaches; none: only a dry run tells.
  std::optional<int64_t> unreached = 0;
  std::vector<std::string> notes = {};  // for `explain model`
};

// One device of a tensor-parallel group: a run of its own sizes, and the sums over all devices in one step,
// each of [batch * seq, width].
struct TensorParallelRank {
  RunOptions options;
  int64_t parameters = 0, sums = 0, width = 0;
};

// What a decoder adds to the books of `explain model`.
struct DecoderForms {
  // Bytes a step keeps for backward at its fullest; none for settings without a closed form.
  std::optional<Exact> (*saved_bytes)(const RunOptions&);
  Exact (*kv_cache_bytes)(const RunOptions&, int64_t batch, int64_t seq, DType cache);
  // Decodes on the device until the cache holds `seq` tokens of each sequence.
  void (*fill_kv_cache)(const RunOptions&, Device&, int64_t batch, int64_t seq, DType cache);
  TensorParallelRank (*tensor_parallel_rank)(const RunOptions&,
                                             int64_t devices);  // Error names what does not divide
};

// Without data (plan), batches of zeros of the same shape.
using MakeTask = std::unique_ptr<TrainTask>(const RunOptions& options, Device& device, bool with_data,
                                            int64_t first_batch);

struct Family {
  std::string name;          // MODEL of the command line
  std::string help;          // what it is, on one line
  std::string presets_help;  // "demo, tiny, alphafold2"
  std::string published;     // the preset meant by the family's name where a published size is asked about
  std::string item;          // what a sequence is made of: "tokens"
  std::string seq_help, rows_help, data_help;  // rows empty: it has none; data empty: it makes up its own
  bool dropout = true;
  bool block_weights = false;              // --weights fills its blocks
  bool exports_folder = false;             // as a Hugging Face folder
  std::vector<std::string> commands = {};  // "flops", "generate": who has them, for messages
  std::vector<FamilySetting> settings = {};
  std::vector<std::string> (*preset_names)() = nullptr;
  StepSizes (*step_sizes)(const std::string& preset) = nullptr;
  void (*resolve)(RunOptions&) =
      nullptr;  // before the common rest is filled in and checked; null: nothing of its own
  MakeTask* make_task = nullptr;
  ParameterFormula (*parameters)(const RunOptions&) = nullptr;  // null: no closed form
  std::optional<DecoderForms> decoder = std::nullopt;
};

std::span<const Family* const> all_families();  // generated

const Family& family_named(std::string_view name);  // Error lists what there is
// "qwen, evoformer or af3": the families for which `has` holds.
std::string families_that(const std::function<bool(const Family&)>& has, std::string_view last = " or ");
bool has_command(const Family& family, std::string_view command);
// Error unless it has, saying which have.
void check_command(const Family& family, std::string_view command);
ParameterFormula parameters_by_formula(const RunOptions& options);  // of the options' family

// The family's task, its blocks filled from options.weights where that is given.
MakeTask make_task;

}  // namespace reckon::models
