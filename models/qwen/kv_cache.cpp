#include "models/qwen/kv_cache.h"

#include "ops/cast/cast.h"
#include "ops/copy_into/copy_into.h"
#include "runtime/core/error.h"
#include "runtime/events/scope.h"

namespace reckon::models {

KvCache::KvCache(Device& device, const QwenConfig& c, int64_t batch, int64_t capacity, DType dtype)
    : capacity_(capacity) {
  RECKON_CHECK(batch >= 1 && capacity >= 1,
               "a key/value cache needs room for at least one token of one sequence, got {} of {}", capacity,
               batch);
  static_cast<void>(bytes_of(c, batch, capacity, dtype));
  Scope scope;
  context().op = intern("kv_cache");
  for (int64_t i = 0; i < c.layers; ++i) {
    const Shape shape{batch, c.kv_heads, capacity, c.head_dim};
    ModuleScope layer("layers." + std::to_string(i) + ".self_attn");
    keys_.push_back(Tensor::empty(device, shape, dtype, Category::kv_cache, "keys"));
    values_.push_back(Tensor::empty(device, shape, dtype, Category::kv_cache, "values"));
  }
}

int64_t KvCache::bytes_of(const QwenConfig& c, int64_t batch, int64_t tokens, DType dtype) {
  int64_t n = 2;
  for (int64_t factor : {c.layers, batch, c.kv_heads, c.head_dim, tokens, static_cast<int64_t>(size_of(dtype))})
    n = checked_multiply(n, factor, "bytes of the key/value cache");
  return n;
}

KvCache::KeysValues KvCache::append(int64_t layer, const Tensor& keys, const Tensor& values) {
  const Tensor &all_keys = keys_.at(static_cast<size_t>(layer)),
               &all_values = values_[static_cast<size_t>(layer)];
  const int64_t end = length_ + keys.size(2);
  RECKON_CHECK(end <= capacity_, "the key/value cache has room for {} tokens, {} are held and {} more came",
               capacity_, length_, keys.size(2));
  ops::copy_into(all_keys.sliced(2, length_, end), ops::cast(keys, all_keys.dtype()));
  ops::copy_into(all_values.sliced(2, length_, end), ops::cast(values, all_values.dtype()));
  return {held(all_keys, end), held(all_values, end)};
}

void KvCache::advance(int64_t tokens) {
  RECKON_CHECK(tokens >= 0 && length_ + tokens <= capacity_,
               "the key/value cache holds {} of {} tokens and cannot advance by {}", length_, capacity_,
               tokens);
  length_ += tokens;
}

KvCache::KeysValues KvCache::layer(int64_t layer) const {
  return {held(keys_.at(static_cast<size_t>(layer)), length_),
          held(values_.at(static_cast<size_t>(layer)), length_)};
}

}  // namespace reckon::models
