#include "tests/differential/generator.h"

#include <algorithm>

#include "runtime/core/rng.h"

namespace reckon::differential {
namespace {

DeviceSpec any_machine() {
  Settings settings;
  DeviceSpec spec = spec_for(settings);
  spec.isa_level = 0;
  return spec;
}

}  // namespace

Generator::Generator(uint64_t seed, bool gpu, std::function<void(const Program&)> before)
    : before_(std::move(before)),
      gpu_(gpu),
      seed_(seed),
      device_(DeviceKind::meta, any_machine()),
      machine_(device_, {.device = DeviceKind::meta, .keep_values = false}),
      body_(&program_.body) {
  autograd::grad_state().generator = {7, 0};
  style_.type = one_of({DType::f32, DType::f32, DType::f32, DType::f64, DType::bf16, DType::f16});
  if (gpu_ && style_.type == DType::f64) style_.type = DType::f32;
  style_.mixed = style_.type == DType::f32 && chance(0.15);
  if (style_.type == DType::f32 && chance(0.4)) style_.low = one_of<std::string>({"bf16", "f16"});
  style_.segments = chance(0.5);
  style_.layouts = chance(0.4);
  style_.empties = chance(0.15);
  style_.writes = chance(0.25);
  style_.errors = chance(0.2);
  style_.hooks = chance(0.2);
  style_.scopes = chance(0.3);
  program_.header.word = "program";
  program_.header.set("seed", seed);
  if (!style_.low.empty() && chance(0.6)) program_.header.set("autocast", style_.low);
}

uint64_t Generator::below(uint64_t n) { return uniform_below(Philox{0xd1ff, seed_}(draws_++), n); }

double Generator::number(double least, double most) {
  const auto steps = static_cast<uint64_t>((most - least) * 16);
  return least + static_cast<double>(below(steps + 1)) / 16;
}

int64_t Generator::extent() { return one_of<int64_t>({1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 8, 17}); }

Shape Generator::shape(int least_rank, int most_rank, int64_t most_elements) {
  while (true) {
    Shape s;
    for (int n = between(least_rank, most_rank); n > 0; --n) s.push_back(extent());
    if (numel(s) <= most_elements) return s;
  }
}

Shape Generator::broadcastable_to(const Shape& shape) {
  Shape s = shape;
  if (chance(0.3)) s = s.slice(static_cast<int>(below(static_cast<uint64_t>(s.rank()) + 1)), s.rank());
  for (int a = 0; a < s.rank(); ++a)
    if (chance(0.25)) s[a] = 1;
  return s;
}

std::string Generator::type() {
  if (style_.mixed) return one_of<std::string>({"f32", "bf16", "f16"});
  return std::string(name_of(style_.type));
}

std::string Generator::other_type(const std::string& of) {
  const std::string from = type_of(of);
  while (true)
    if (std::string to = one_of<std::string>({"f32", "bf16", "f16", "f64"});
        to != from && !(gpu_ && to == "f64"))
      return to;
}

std::string Generator::same_shape(const std::string& as) {
  if (chance(0.5))
    for (size_t i = pool_.size(); i > 0; --i) {
      const Known& k = tensors_.at(pool_[i - 1]);
      if (k.tensor.shape() == shape_of(as) && k.bound <= 16 &&
          k.tensor.dtype() == tensors_.at(as).tensor.dtype() && chance(0.7))
        return pool_[i - 1];
    }
  return leaf(shape_of(as), {.type = type_of(as)});
}

std::string Generator::writable() {
  if (depth_ > 0) return "";
  std::vector<std::string> names;
  for (const std::string& n : pool_) {
    const Tensor& t = tensors_.at(n).tensor;
    bool apart = is_compute_type(t.dtype()) && t.contiguous();
    if (apart && !frozen_.contains(t.storage().get())) names.push_back(n);
  }
  return names.empty() ? "" : names[below(names.size())];
}

Statement Generator::host_values(Statement s) { return std::move(s.set("values", "signed:" + stream())); }

std::vector<std::string> Generator::usable(const Wanted& wanted) const {
  std::vector<std::string> names;
  for (const std::string& n : pool_) {
    const Known& k = tensors_.at(n);
    const Shape& s = k.tensor.shape();
    if (!is_compute_type(k.tensor.dtype()) || k.bound > wanted.most) continue;
    if (s.rank() < wanted.least_rank || s.rank() > wanted.most_rank) continue;
    if ((wanted.elements && numel(s) == 0) || (wanted.fits && !wanted.fits(s))) continue;
    names.push_back(n);
  }
  return names;
}

std::string Generator::pick(const Wanted& wanted) {
  const auto names = usable(wanted);
  if (!names.empty() && chance(0.85)) {
    const size_t recent = std::min<size_t>(names.size(), 8);
    return names[names.size() - 1 - below(recent)];
  }
  for (int tries = 0; tries < 50; ++tries) {
    const Shape s = shape(wanted.least_rank, std::min(wanted.most_rank, 4));
    if ((wanted.elements && numel(s) == 0) || (wanted.fits && !wanted.fits(s))) continue;
    const std::string types[] = {"f32", "bf16", "f16"};
    const std::string n = leaf(s, {.type = style_.mixed ? types[below(3)] : ""});
    pool_.push_back(n);
    return n;
  }
  return "";
}

std::string Generator::leaf(const Shape& shape, const LeafOptions& options) {
  Statement s{.word = "leaf", .outs = {name('x')}};
  const bool whole = options.kind.starts_with("index") || options.kind.starts_with("target");
  const bool plain = options.kind == "signed" || options.kind == "positive";
  s.set("shape", shape);
  s.set("type", !options.type.empty() ? options.type : whole ? "i64" : std::string(name_of(style_.type)));
  const bool floating = is_compute_type(dtype_from_name(s.text("type")));
  const std::string grads[] = {"1", "1", "1", "1", "0", "frozen"};
  s.set("grad", !floating || options.constant || !plain ? "0" : grads[below(6)]);
  const size_t colon = options.kind.find(':');
  s.set("values", options.kind.substr(0, colon) + ":" + stream() +
                      (colon == std::string::npos ? "" : options.kind.substr(colon)));
  if (options.scale != 1) s.set("scale", options.scale);
  if (options.fixed) s.set("fixed", 1);
  if (style_.layouts && !options.dense && floating && shape.rank() > 0 && chance(0.35)) {
    const int a = between(0, shape.rank() - 1), b = between(0, shape.rank() - 1);
    switch (below(3)) {
      case 0:
        if (a != b) s.set("layout", fmt::format("swap:{}:{}", a, b));
        break;
      case 1:
        s.set("layout", fmt::format("step:{}:{}:{}", a, between(1, 3), between(0, 2)));
        break;
      default:
        if (shape[a] > 0) s.set("layout", fmt::format("spread:{}", a));
    }
  }
  run(s);
  const std::string n = s.outs[0];
  remember(n, 2 * options.scale, false);
  if (!options.fixed) leaves_.push_back(n);
  if (depth_ == 0)
    program_.body.push_back(std::move(s));
  else
    new_leaves_.push_back(std::move(s));
  return n;
}

std::string Generator::run(const Statement& s) {
  if (before_) {
    Program so_far = program_;
    so_far.body.insert(so_far.body.end(), new_leaves_.begin(), new_leaves_.end());
    if (body_ != &program_.body) so_far.body.insert(so_far.body.end(), body_->begin(), body_->end());
    so_far.body.push_back(s);
    before_(so_far);
  }
  try {
    machine_.run(s, env_);
    return "";
  } catch (const std::exception& e) {
    return e.what();
  }
}

void Generator::remember(const std::string& name, double bound, bool constant) {
  const Tensor& t = env_.at(name);
  const bool owner = owned_.insert(t.storage().get()).second;
  if (constant && !owner) frozen_.insert(t.storage().get());
  tensors_[name] = {t, bound, owner};
}

std::string Generator::emit(Statement s, double bound, int n_outs) {
  if (broken_) return "";
  for (int i = 0; i < n_outs; ++i) s.outs.push_back(name('t'));
  if (const std::string error = run(s); !error.empty()) {
    // A mixture of types may be refused; anything else is for the judge.
    std::set<DType> types;
    for (const std::string& in : s.ins)
      if (in != "_" && is_compute_type(tensors_.at(in).tensor.dtype()))
        types.insert(tensors_.at(in).tensor.dtype());
    const bool one_type = types.size() < 2 && style_.low.empty();
    if (one_type) {
      broken_ = true;
      body_->push_back(std::move(s));
    }
    return "";
  }
  const Operation* op = find_operation(s.word);
  for (const std::string& n : s.outs) {
    remember(n, bound, scopes_ > 0 || (op && op->constant) || s.word == "cast");
    pool_.push_back(n);
  }
  const std::string first = s.outs.empty() ? s.word : s.outs[0];
  body_->push_back(std::move(s));
  return first;
}

void Generator::operation() {
  const auto all = operations();
  const auto weight = [&](const Operation& op) {
    return !op.make || (op.writes && !style_.writes) ? 0 : op.weight * (op.writes ? 3 : 1);
  };
  int total = 0;
  for (const Operation& op : all) total += weight(op);
  auto drawn = static_cast<int64_t>(below(static_cast<uint64_t>(total)));
  for (const Operation& op : all) {
    if ((drawn -= weight(op)) >= 0) continue;
    op.make(*this);
    return;
  }
}

}  // namespace reckon::differential
