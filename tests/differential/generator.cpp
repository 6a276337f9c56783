#include "tests/differential/generator.h"

#include <algorithm>

#include "autograd/checkpoint.h"
#include "autograd/node.h"
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

Generator::Generator(uint64_t seed)
    : seed_(seed),
      device_(DeviceKind::meta, any_machine()),
      machine_(device_, {.device = DeviceKind::meta, .keep_values = false}),
      body_(&program_.body) {
  autograd::grad_state().generator = {7, 0};
  style_.type = one_of({DType::f32, DType::f32, DType::f64});
  style_.segments = chance(0.5);
  style_.layouts = chance(0.5);
  style_.empties = false;
  program_.header.word = "program";
  program_.header.set("seed", seed);
}

uint64_t Generator::below(uint64_t n) { return uniform_below(Philox{0xd1ff, seed_}(draws_++), n); }

double Generator::number(double least, double most) {
  const auto steps = static_cast<uint64_t>((most - least) * 16);
  return least + static_cast<double>(below(steps + 1)) / 16;
}

int64_t Generator::extent() {
  if (style_.empties && chance(0.1)) return 0;
  return one_of<int64_t>({1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 8, 17});
}

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
    const std::string n = leaf(s);
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
  s.set("type", std::string(options.type ? options.type : whole ? "i64" : name_of(style_.type)));
  const bool floating = is_compute_type(dtype_from_name(s.text("type")));
  const std::string grads[] = {"1", "1", "1", "1", "0", "frozen"};
  s.set("grad", !floating || options.constant || !plain ? "0" : grads[below(6)]);
  const size_t colon = options.kind.find(':');
  s.set("values", options.kind.substr(0, colon) + ":" + std::to_string(++n_streams_ + 1000 * seed_) +
                      (colon == std::string::npos ? "" : options.kind.substr(colon)));
  if (options.scale != 1) s.set("scale", options.scale);
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
  tensors_[n] = {env_.at(n), 2 * options.scale};
  leaves_.push_back(n);
  if (depth_ == 0)
    program_.body.push_back(std::move(s));
  else
    new_leaves_.push_back(std::move(s));
  return n;
}

bool Generator::run(const Statement& s) {
  try {
    machine_.run(s, env_);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

std::string Generator::emit(Statement s, double bound, int n_outs) {
  if (broken_) return "";
  for (int i = 0; i < n_outs; ++i) s.outs.push_back(name('t'));
  if (!run(s)) {
    broken_ = s.text("expect") != "maybe";
    body_->push_back(std::move(s));
    return "";
  }
  for (const std::string& n : s.outs) {
    tensors_[n] = {env_.at(n), bound};
    pool_.push_back(n);
  }
  const std::string first = s.outs.empty() ? s.word : s.outs[0];
  body_->push_back(std::move(s));
  return first;
}

void Generator::step() {
  if (style_.segments && depth_ < 2 && chance(0.2)) return segment();
  const auto all = operations();
  int total = 0;
  for (const Operation& op : all) total += op.make ? op.weight : 0;
  int64_t drawn = static_cast<int64_t>(below(static_cast<uint64_t>(total)));
  for (const Operation& op : all) {
    if (!op.make || (drawn -= op.weight) >= 0) continue;
    op.make(*this);
    return;
  }
}

void Generator::segment() {
  if (pool_.empty()) return;
  Statement s{.word = "segment"};
  for (int n = between(1, 3); n > 0; --n) {
    const std::string& in = pool_[pool_.size() - 1 - below(std::min<size_t>(pool_.size(), 8))];
    if (std::find(s.ins.begin(), s.ins.end(), in) == s.ins.end()) s.ins.push_back(in);
  }
  s.set("boundary", one_of<std::string>({"block", "sublayer"}));
  const auto outer_pool = pool_;
  auto* outer_body = body_;
  pool_ = s.ins;
  for (const std::string& l : leaves_)
    if (is_compute_type(tensors_.at(l).tensor.dtype()) && chance(0.2)) pool_.push_back(l);
  const size_t given = pool_.size();
  body_ = &s.body;
  ++depth_;
  for (int n = between(1, 5); n > 0 && !broken_; --n) step();
  --depth_;
  body_ = outer_body;
  std::vector<std::string> made;
  for (size_t i = given; i < pool_.size(); ++i)
    if (pool_[i][0] == 't') made.push_back(pool_[i]);
  pool_ = outer_pool;
  if (made.empty() && !broken_) return;
  Statement back{.word = "return"};
  for (int n = between(1, 2); n > 0 && !made.empty(); --n) {
    const std::string& one = made[made.size() - 1 - below(std::min<size_t>(made.size(), 3))];
    if (std::find(back.ins.begin(), back.ins.end(), one) == back.ins.end()) back.ins.push_back(one);
  }
  if (chance(0.08)) back.ins.push_back(s.ins[0]);
  for (size_t i = 0; i < back.ins.size(); ++i) s.outs.push_back(name('t'));
  double most = 0;
  for (const std::string& n : back.ins) most = std::max(most, tensors_.at(n).bound);
  s.body.push_back(std::move(back));
  if (depth_ == 0) {
    for (Statement& l : new_leaves_) program_.body.push_back(std::move(l));
    new_leaves_.clear();
  }
  if (!broken_ && !run(s)) broken_ = true;
  if (!broken_)
    for (const std::string& n : s.outs) {
      tensors_[n] = {env_.at(n), most};
      pool_.push_back(n);
    }
  body_->push_back(std::move(s));
}

void Generator::backward() {
  Statement s{.word = "backward"};
  for (int n = between(1, 3); n > 0; --n)
    for (int tries = 0; tries < 10; ++tries) {
      if (pool_.empty()) break;
      const std::string& root = pool_[pool_.size() - 1 - below(std::min<size_t>(pool_.size(), 6))];
      if (root[0] != 't' || !tensors_.at(root).tensor.requires_grad()) continue;
      if (std::find(s.ins.begin(), s.ins.end(), root) == s.ins.end()) s.ins.push_back(root);
      break;
    }
  if (s.ins.empty()) return;
  s.set("seed", 1000 * seed_ + 500 + ++n_streams_);
  run(s);
  body_->push_back(std::move(s));
}

Program Generator::program() {
  for (int n = between(3, 12); n > 0 && !broken_; --n) step();
  if (!broken_) backward();
  return program_;
}

}  // namespace reckon::differential
