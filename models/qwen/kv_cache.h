// Keys (after the rotary embedding) and values of the tokens a decoder has seen, so that a new token is
// attended without running the old ones again. Its bytes are the category kv_cache. Filled by Qwen::hidden,
// held by the decoder.
#pragma once

#include <vector>

#include "models/qwen/config.h"
#include "runtime/tensor.h"

namespace reckon::models {

class KvCache {
 public:
  // Room for `capacity` tokens of `batch` sequences; two tensors [batch, kv_heads,
  // capacity, head_dim] per layer.
  KvCache(Device& device, const QwenConfig& config, int64_t batch, int64_t capacity, DType dtype);

  int64_t length() const { return length_; }  // tokens held
  int64_t capacity() const { return capacity_; }
  // 2 x layers x batch x kv_heads x head_dim x tokens x bytes per element (2 L B K S D b).
  static int64_t bytes_of(const QwenConfig& config, int64_t batch, int64_t tokens, DType dtype);

  // Puts the keys and values [B, K, S, D] of S new tokens behind the held ones and returns all of this layer,
  // [B, K, length + S, D]. Error when they do not fit. `advance` follows once every layer has done so.
  struct KeysValues {
    Tensor keys, values;
  };
  KeysValues append(int64_t layer, const Tensor& keys_BKSD, const Tensor& values_BKSD);
  void advance(int64_t tokens);
  KeysValues layer(int64_t layer) const;  // the held tokens, views

 private:
  Tensor held(const Tensor& of, int64_t tokens) const { return of.sliced(2, 0, tokens); }

  int64_t capacity_, length_ = 0;
  std::vector<Tensor> keys_, values_;
};

}  // namespace reckon::models
