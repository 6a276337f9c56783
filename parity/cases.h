// What can be run from a golden file, by kind. Each runner reads what to build from the file's metadata.
#pragma once

#include "parity/case.h"

namespace reckon::parity {

// Matrix-product FLOPs and bytes kept for backward of one run.
struct Books {
  int64_t forward_flops = 0;
  int64_t backward_flops = 0;                           // recomputation included
  int64_t forward_products = 0, backward_products = 0;  // calls with such FLOPs
  int64_t saved_bytes = 0;                              // after forward
};

void run_op_case(Case& c, Books* books = nullptr);
void run_evoformer_case(Case& c, Books* books = nullptr);
void run_qwen_case(Case& c, Books* books = nullptr);

// The case's kind from its metadata; Error when it is none of them.
void run_case(Case& c, Books* books = nullptr);

// Records {function, args, value} of the coursework's FLOPs module.
void run_flops_records(const Json& records, Report& report);

// JSON files: FLOP counts, parameter counts, tokenizer cases, FLOP records.
void run_json_case(const std::filesystem::path& path, const Settings& settings, Report& report);

// Any file.
Report run_file(const std::filesystem::path& path, const Settings& settings);

}  // namespace reckon::parity
