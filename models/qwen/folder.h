// Hugging Face model folders of the Qwen family: config.json, *.safetensors (one file, or shards
// with an index) and the tokenizer's files. Called by the training task and by generation; plan and
// audit only check names and shapes.
#pragma once

#include <filesystem>

#include "models/data/tokenizer.h"
#include "models/qwen/qwen.h"

namespace reckon::models {

QwenConfig read_folder_config(const std::filesystem::path& folder);

// Fills every parameter (f32 or bf16) from the folder's f32, bf16 or f16 weights, named with or without a
// leading "model.". A tied model ignores lm_head.weight. Error when a tensor is missing, unknown, or has
// another shape or type. Where there are no values (meta) names, types and shapes are checked; a folder
// without weights is then enough.
void load_folder_weights(const std::filesystem::path& folder, const Qwen& model);

// The ids that end a text: eos_token_id of generation_config.json, else of
// config.json; empty when neither says.
std::vector<int64_t> folder_stop_ids(const std::filesystem::path& folder);

bool folder_has_tokenizer(const std::filesystem::path& folder);
// "bytes", a tokenizer.json, or a folder with a tokenizer.
data::Tokenizer open_tokenizer(const std::string& where);

struct ExportOptions {
  DType dtype = DType::f32;  // f32, bf16 or f16, rounded to nearest even
  std::string tokenizer;     // as for open_tokenizer: its files are copied
  std::string base;          // folder whose other config.json entries are kept; may be empty
};

// Writes config.json, model.safetensors (Hugging Face's names) and the tokenizer's files, each whole or not at
// all. LoRA adapters are merged into the written weights; the model stays as it is.
void export_folder(const std::filesystem::path& folder, const Qwen& model, const ExportOptions& options);

}  // namespace reckon::models
