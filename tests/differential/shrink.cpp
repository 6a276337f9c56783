#include "tests/differential/shrink.h"

#include <map>
#include <set>

namespace reckon::differential {
namespace {

// The bodies of a program, addressed by how many came before, so that a copy has the same ones.
std::vector<std::vector<Statement>*> bodies(Program& p) {
  std::vector<std::vector<Statement>*> all{&p.body};
  for (size_t i = 0; i < all.size(); ++i)
    for (Statement& s : *all[i])
      if (!s.body.empty()) all.push_back(&s.body);
  return all;
}

// Statements whose inputs are made nowhere before them go too, until none is left.
bool complete(std::vector<Statement>& body, std::set<std::string> known) {
  std::vector<Statement> kept;
  for (Statement& s : body) {
    bool has_all = true;
    for (const std::string& in : s.ins) has_all &= in == "_" || known.contains(in);
    if (!has_all && s.word == "return") return false;
    if (!has_all && s.word == "backward") {
      std::erase_if(s.ins, [&](const std::string& in) { return !known.contains(in); });
      has_all = !s.ins.empty();
    }
    if (!has_all) continue;
    if (!s.body.empty() && !complete(s.body, known)) continue;
    if (s.word == "segment" && (s.body.empty() || s.body.back().word != "return")) continue;
    if (s.word == "no_grad" || s.word == "autocast")
      for (const Statement& inner : s.body) known.insert(inner.outs.begin(), inner.outs.end());
    known.insert(s.outs.begin(), s.outs.end());
    kept.push_back(std::move(s));
  }
  body = std::move(kept);
  return true;
}

class Shrinker {
 public:
  Shrinker(Program p, const std::function<bool(const Program&)>& wrong) : best_(std::move(p)), wrong_(wrong) {}

  Program run() {
    bool smaller = true;
    while (smaller && tries_ < kMostTries) {
      smaller = cut_statements();
      smaller |= open_bodies();
      smaller |= drop_attributes();
    }
    return best_;
  }

 private:
  static constexpr int kMostTries = 600;

  bool accept(Program candidate) {
    if (++tries_ > kMostTries || !complete(candidate.body, {})) return false;
    if (to_text(candidate) == to_text(best_) || !wrong_(candidate)) return false;
    best_ = std::move(candidate);
    return true;
  }

  // Runs of statements, from halves of a body down to single ones.
  bool cut_statements() {
    bool any = false;
    for (size_t b = 0; b < bodies(best_).size(); ++b)
      for (size_t n = std::max<size_t>(1, bodies(best_)[b]->size() / 2); n > 0; n /= 2)
        for (size_t end = bodies(best_)[b]->size(); end > 0 && b < bodies(best_).size();) {
          Program candidate = best_;
          std::vector<Statement>& body = *bodies(candidate)[b];
          end = std::min(end, body.size());
          const size_t first = end > n ? end - n : 0;
          if (end == 0) break;
          body.erase(body.begin() + static_cast<ptrdiff_t>(first), body.begin() + static_cast<ptrdiff_t>(end));
          any |= accept(std::move(candidate));
          end = first;
        }
    return any;
  }

  // A body's statements in its own place; a segment's results become what it returns.
  bool open_bodies() {
    bool any = false;
    for (size_t b = 0; b < bodies(best_).size(); ++b)
      for (size_t i = 0; i < bodies(best_)[b]->size(); ++i) {
        if ((*bodies(best_)[b])[i].body.empty()) continue;
        Program candidate = best_;
        std::vector<Statement>& body = *bodies(candidate)[b];
        const Statement opened = body[i];
        std::vector<Statement> inside = opened.body;
        std::map<std::string, std::string> renamed;
        if (opened.word == "segment") {
          for (size_t k = 0; k < opened.outs.size(); ++k) renamed[opened.outs[k]] = inside.back().ins[k];
          inside.pop_back();
        }
        body.erase(body.begin() + static_cast<ptrdiff_t>(i));
        body.insert(body.begin() + static_cast<ptrdiff_t>(i), inside.begin(), inside.end());
        for (std::vector<Statement>* one : bodies(candidate))
          for (Statement& s : *one)
            for (std::string& in : s.ins)
              if (const auto to = renamed.find(in); to != renamed.end()) in = to->second;
        any |= accept(std::move(candidate));
      }
    return any;
  }

  bool drop_attributes() {
    bool any = false;
    for (const char* key : {"layout", "scale", "keep", "fuse", "autocast"})
      for (size_t b = 0; b < bodies(best_).size(); ++b)
        for (size_t i = 0; i < bodies(best_)[b]->size(); ++i) {
          if (!(*bodies(best_)[b])[i].find(key) || (*bodies(best_)[b])[i].word != "leaf") continue;
          Program candidate = best_;
          std::erase_if((*bodies(candidate)[b])[i].attrs, [&](const auto& a) { return a.first == key; });
          any |= accept(std::move(candidate));
        }
    for (const char* key : {"autocast", "fuse"}) {
      Program candidate = best_;
      std::erase_if(candidate.header.attrs, [&](const auto& a) { return a.first == key; });
      any |= accept(std::move(candidate));
    }
    return any;
  }

  Program best_;
  const std::function<bool(const Program&)>& wrong_;
  int tries_ = 0;
};

}  // namespace

Program shrink(Program p, const std::function<bool(const Program&)>& wrong) {
  return Shrinker(std::move(p), wrong).run();
}

}  // namespace reckon::differential
