// What programs are made of besides calls of ops: segments, scopes, hooks, errors, backward and optimizers.
#include <algorithm>

#include "autograd/autocast.h"
#include "autograd/grad_mode.h"
#include "autograd/node.h"
#include "tests/differential/generator.h"

namespace reckon::differential {

void Generator::step() {
  if (style_.segments && depth_ < 2 && chance(0.2)) return segment();
  if (style_.scopes && chance(0.1)) return scope();
  if (style_.hooks && depth_ == 0 && scopes_ == 0 && chance(0.15)) return hook();
  if (style_.errors && depth_ == 0 && chance(0.1)) return bad_statement();
  if (depth_ == 0 && scopes_ == 0 && chance(0.04)) return drop();
  operation();
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
  if (depth_ == 0) {
    for (Statement& l : new_leaves_) program_.body.push_back(std::move(l));
    new_leaves_.clear();
  }
  if (!made.empty() || broken_) finish_segment(std::move(s), made);
}

void Generator::finish_segment(Statement s, const std::vector<std::string>& made) {
  Statement back{.word = "return"};
  double most = 0;
  for (int n = between(1, 2); n > 0 && !made.empty(); --n) {
    const std::string& one = made[made.size() - 1 - below(std::min<size_t>(made.size(), 3))];
    if (std::find(back.ins.begin(), back.ins.end(), one) != back.ins.end()) continue;
    back.ins.push_back(one);
    most = std::max(most, bound(one));
  }
  if (chance(0.08)) {
    back.ins.push_back(s.ins[0]);
    most = std::max(most, bound(s.ins[0]));
  }
  for (size_t i = 0; i < back.ins.size(); ++i) s.outs.push_back(name('t'));
  s.body.push_back(std::move(back));
  if (!broken_ && !run(s).empty()) broken_ = true;
  if (!broken_)
    for (const std::string& n : s.outs) {
      remember(n, most, scopes_ > 0);
      // No hooks on them: under checkpoints they see less than without where the segment reads its own output.
      tensors_.at(n).owner = false;
      pool_.push_back(n);
    }
  body_->push_back(std::move(s));
}

void Generator::scope() {
  const bool no_grad = style_.low.empty() || chance(0.5);
  Statement s{.word = no_grad ? "no_grad" : "autocast"};
  const std::string type = chance(0.7) && !no_grad ? style_.low : "f32";
  if (!no_grad) s.set("type", type);
  auto* outer_body = body_;
  body_ = &s.body;
  {
    const autograd::AutocastState outer = autograd::autocast_state();
    const autograd::AutocastScope precision(dtype_from_name(type));
    if (no_grad) autograd::autocast_state() = outer;
    const bool before = autograd::grad_state().enabled;
    autograd::grad_state().enabled = before && !no_grad;
    scopes_ += no_grad;
    for (int n = between(1, 3); n > 0 && !broken_; --n) operation();
    scopes_ -= no_grad;
    autograd::grad_state().enabled = before;
  }
  body_ = outer_body;
  if (!s.body.empty()) body_->push_back(std::move(s));
}

void Generator::hook() {
  for (int tries = 0; tries < 5 && !pool_.empty(); ++tries) {
    const std::string& n = pool_[pool_.size() - 1 - below(std::min<size_t>(pool_.size(), 6))];
    if (n[0] != 't' || !tensors_.at(n).owner || !tensors_.at(n).tensor.requires_grad()) continue;
    Statement s{.word = "hook", .ins = {n}};
    if (style_.errors && chance(0.3)) {
      s.set("kind", std::string("throw"));
      thrower_ = true;
    } else {
      s.set("kind", std::string("scale")).set("factor", one_of({0.5, 2.0, -1.0}));
    }
    body_->push_back(std::move(s));
    return;
  }
}

void Generator::drop() {
  if (pool_.size() < 3) return;
  const size_t i = below(pool_.size());
  if (pool_[i][0] != 't') return;
  body_->push_back({.word = "drop", .ins = {pool_[i]}});
  pool_.erase(pool_.begin() + static_cast<ptrdiff_t>(i));
}

void Generator::bad_statement() {
  const std::string a = leaf(shape(1, 3), {.dense = true});
  Shape longer = shape_of(a);
  longer[longer.rank() - 1] += 2;
  const std::string b = leaf(longer, {.dense = true});
  Statement s{.word = one_of<std::string>({"matmul", "mse_loss", "reshape", "slice", "linear", "softmax"}),
              .ins = {a}};
  if (s.word == "mse_loss" || s.word == "matmul") s.ins.push_back(b);
  if (s.word == "linear") s.ins = {a, b, b};
  if (s.word == "reshape") s.set("shape", Dims{numel(shape_of(a)) + 1});
  if (s.word == "slice") s.set("axis", 0).set("first", 1).set("last", shape_of(a)[0] + 1);
  if (s.word == "softmax") s.set("axis", 7);
  s.outs = {name('t')};
  if (run(s).empty()) return;  // a product that fits after all
  body_->push_back(std::move(s.set("expect", std::string("error"))));
}

bool Generator::backward() {
  Statement s{.word = "backward"};
  for (int n = between(1, 3); n > 0; --n)
    for (int tries = 0; tries < 10 && !pool_.empty(); ++tries) {
      const std::string& root = pool_[pool_.size() - 1 - below(std::min<size_t>(pool_.size(), 6))];
      if (root[0] != 't' || !tensors_.at(root).tensor.requires_grad()) continue;
      if (std::find(s.ins.begin(), s.ins.end(), root) == s.ins.end()) s.ins.push_back(root);
      break;
    }
  if (s.ins.empty()) return false;
  s.set("seed", 1000 * seed_ + 500 + ++n_streams_);
  run(s);
  if (thrower_) s.set("expect", std::string("maybe_hook"));
  thrower_ = false;
  body_->push_back(std::move(s));
  return true;
}

// Nothing below the leaves is to be read again: its graph is spent.
void Generator::forget_graph() {
  std::vector<std::string> dropped;
  std::erase_if(pool_, [&](const std::string& n) {
    const bool spent = n[0] == 't' && tensors_.at(n).tensor.requires_grad();
    if (spent) dropped.push_back(n);
    return spent;
  });
  if (!dropped.empty() && chance(0.7)) body_->push_back({.word = "drop", .ins = dropped});
}

// Clips gradients and updates the parameters that have one, all of one type.
void Generator::optimizer() {
  std::vector<std::string> parameters, gradients;
  for (const std::string& l : leaves_) {
    const Tensor& t = env_.at(l);
    if (!gradient_of(t).defined() || !t.contiguous() || t.dtype() != style_.type ||
        frozen_.contains(t.storage().get()))
      continue;
    if (parameters.size() == 4) break;
    parameters.push_back(l);
    Statement s{.word = "grad", .outs = {name('g')}, .ins = {l}};
    run(s);
    remember(s.outs[0], 64, false);
    gradients.push_back(s.outs[0]);
    body_->push_back(std::move(s));
  }
  if (parameters.empty()) return;
  std::string found = "_";
  if (chance(0.6)) {
    Statement clip{.word = "clip", .ins = gradients};
    clip.set("most", one_of({0.5, 1000.0})).set("fused", between(0, 1));
    emit(std::move(clip), 64, 3);
    if (broken_) return;
    found = pool_.back();
    pool_.resize(pool_.size() - 3);  // f32 in every run: not to be mixed with others
  }
  if (found != "_" && chance(0.5)) {
    const LeafOptions scale{
        .kind = "positive", .scale = 16, .type = "f32", .dense = true, .constant = true, .fixed = true};
    add({.word = "scaler_update", .ins = {leaf({1}, scale), leaf({1}, {.kind = "index:2"}), found}}, 64, 0);
  }
  const LeafOptions state{.kind = "positive", .dense = true, .constant = true};
  if (chance(0.6)) {
    Statement s{.word = "adamw", .ins = parameters};
    s.ins.insert(s.ins.end(), gradients.begin(), gradients.end());
    for (int k = 0; k < 2; ++k)
      for (const std::string& p : parameters) s.ins.push_back(leaf(shape_of(p), state));
    // How many updates there were: a number for all, or one of each on the device.
    const bool counted = chance(0.5);
    s.set("n", static_cast<int64_t>(parameters.size())).set("counted", static_cast<int>(counted));
    const LeafOptions updates{
        .kind = "index:3", .type = style_.type == DType::f64 ? "f64" : "f32", .dense = true, .constant = true};
    s.ins.push_back(counted ? found : "_");
    for (size_t i = 0; i < parameters.size() && counted; ++i) s.ins.push_back(leaf({1}, updates));
    s.set("fused", between(0, 1)).set("decay", one_of({0.0, 0.125})).set("decoupled", between(0, 1));
    add(std::move(s.set("step", between(1, 3))), 64, 0);
    return;
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    const bool momentum = chance(0.7);
    Statement s{.word = "sgd",
                .ins = {parameters[i], gradients[i], momentum ? leaf(shape_of(parameters[i]), state) : "_"}};
    s.set("momentum", momentum ? 0.5 : 0.0).set("nesterov", momentum ? between(0, 1) : 0);
    add(std::move(s.set("decay", one_of({0.0, 0.125})).set("step", between(1, 3))), 64, 0);
  }
}

// The step so far, once more in front of itself with too little memory.
void Generator::attempt_before() {
  bool repeatable = true;
  for_each_statement(program_.body,
                     [&](const Statement& s) { repeatable &= !s.find("expect") && s.word != "hook"; });
  if (!repeatable) return;
  std::vector<Statement>& body = program_.body;
  const auto first =
      std::stable_partition(body.begin(), body.end(), [](const Statement& s) { return s.word == "leaf"; });
  Statement s{.word = "try", .body = {first, body.end()}};
  s.set("fail_at", between(1, 60));
  body.insert(first, std::move(s));
}

Program Generator::program() {
  const autograd::AutocastScope precision(dtype_from_name(program_.header.text("autocast", "f32")));
  bool updated = false;
  for (int phase = 0, phases = chance(0.25) ? 2 : 1; phase < phases && !broken_; ++phase) {
    if (phase > 0) {
      forget_graph();
      if (updated || chance(0.5)) body_->push_back({.word = "clear_grad"});
    }
    for (int n = between(3, 10); n > 0 && !broken_; --n) step();
    if (broken_ || !backward()) break;
    if (phase == 0 && style_.errors && !style_.writes && chance(0.5)) attempt_before();
    updated = chance(0.2);
    if (updated) optimizer();
  }
  return program_;
}

}  // namespace reckon::differential
