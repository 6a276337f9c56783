#include "models/qwen/decoder.h"

#include <algorithm>
#include <chrono>

#include "autograd/grad_mode.h"
#include "ops/cast/cast.h"
#include "ops/view/view.h"
#include "runtime/events/scope.h"

namespace reckon::models {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Logits [B, V] in f32 of the token after ids [B, S].
Tensor next_logits(const Qwen& model, Device& device, const std::vector<int64_t>& ids, const Shape& shape,
                   KvCache& cache) {
  Tensor input;
  {
    PhaseScope phase(Phase::data);
    ModuleScope scope("data");
    input = Tensor::from_host(device, shape, DType::i64, ids.data(), ids.size() * 8, Category::input, "ids");
  }
  PhaseScope phase(Phase::forward);
  Tensor h = model.hidden(input, {}, {}, &cache);
  h = ops::contiguous(ops::slice(h, 1, shape[1] - 1, shape[1]));
  return ops::cast(ops::reshape(model.logits(h), {shape[0], model.config().vocab}), DType::f32);
}

}  // namespace

DecodeResult decode(const Qwen& model, Device& device, std::span<const int64_t> prompt, int64_t sequences,
                    const DecodeOptions& o, const TokensReady& ready) {
  const QwenConfig& c = model.config();
  o.sampling.validate();
  RECKON_CHECK(!prompt.empty(), "the prompt has no tokens: decoding continues at least one");
  RECKON_CHECK(sequences >= 1, "the number of sequences must be positive, got {}", sequences);
  RECKON_CHECK(o.max_new_tokens >= 1, "the number of new tokens must be positive, got {}", o.max_new_tokens);
  for (int64_t id : prompt)
    RECKON_CHECK(id >= 0 && id < c.vocab,
                 "the prompt holds id {}, the model knows 0 to {}: is this its tokenizer?", id, c.vocab - 1);
  const int64_t n_ids = o.n_ids > 0 ? std::min(o.n_ids, c.vocab) : c.vocab;
  const auto n_prompt = static_cast<int64_t>(prompt.size());

  autograd::NoGrad no_grad;
  const Scope scope;  // the caller's step number comes back
  DecodeResult result;
  result.new_ids.resize(static_cast<size_t>(sequences));
  result.cache_capacity = n_prompt + o.max_new_tokens - 1;  // the last token is never read
  result.cache_bytes = KvCache::bytes_of(c, sequences, result.cache_capacity, o.cache_dtype);
  KvCache cache(device, c, sequences, result.cache_capacity, o.cache_dtype);

  std::vector<int64_t> ids;
  for (int64_t b = 0; b < sequences; ++b) ids.insert(ids.end(), prompt.begin(), prompt.end());
  Shape shape{sequences, n_prompt};
  std::vector<bool> ended(static_cast<size_t>(sequences), false);
  std::vector<float> host(static_cast<size_t>(sequences * c.vocab));
  for (int64_t step = 0; step < o.max_new_tokens; ++step) {
    const auto begin = Clock::now();
    device.begin_step(step);
    {
      const Tensor logits = next_logits(model, device, ids, shape, cache);
      if (device.executes()) logits.copy_to_host(host.data(), host.size() * sizeof(float));
    }
    device.end_step();
    ids.assign(static_cast<size_t>(sequences), 0);
    std::vector<std::optional<int64_t>> chosen(static_cast<size_t>(sequences));
    for (size_t b = 0; b < chosen.size(); ++b) {
      if (ended[b]) continue;
      if (device.executes())
        ids[b] =
            choose_token({host.data() + b * static_cast<size_t>(c.vocab), static_cast<size_t>(n_ids)},
                         o.sampling, sampling_draw(o.sampling.seed, static_cast<int64_t>(b), n_prompt + step));
      chosen[b] = ids[b];
      result.new_ids[b].push_back(ids[b]);
      ended[b] =
          device.executes() && std::find(o.stop_ids.begin(), o.stop_ids.end(), ids[b]) != o.stop_ids.end();
    }
    shape = {sequences, 1};
    (step == 0 ? result.prefill_seconds : result.decode_seconds) += seconds_since(begin);
    result.n_decode_steps += step > 0;
    if (ready) ready(chosen);
    if (std::all_of(ended.begin(), ended.end(), [](bool e) { return e; })) break;
  }
  return result;
}

}  // namespace reckon::models
