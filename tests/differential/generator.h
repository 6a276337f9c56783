// Makes random programs. One seed gives one program on every machine: decisions depend on draws and on shapes alone,
// which a dry run of the program so far tells. Bounds of the values are carried along, so that no program overflows.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/differential/machine.h"
#include "tests/differential/operations.h"

namespace reckon::differential {

// Which kinds of statements a program may have.
struct Style {
  DType type = DType::f32;  // of most leaves
  bool segments = false, layouts = false, empties = false;
};

// What is asked of a tensor to pick.
struct Wanted {
  int least_rank = 0, most_rank = 4;
  bool elements = false;  // has some
  double most = 64;       // bound of its values
  bool (*fits)(const Shape&) = nullptr;
};

struct LeafOptions {
  std::string kind = "signed";  // of its values, with what follows the stream
  double scale = 1;
  const char* type = nullptr;  // null: the program's
  bool dense = false;          // no strange layout
  bool constant = false;       // no gradient
};

class Generator {
 public:
  explicit Generator(uint64_t seed);
  Program program();

  // For the makers of operations.
  uint64_t below(uint64_t n);
  int between(int first, int last) {
    return first + static_cast<int>(below(static_cast<uint64_t>(last - first + 1)));
  }
  bool chance(double p) { return below(1000) < static_cast<uint64_t>(1000 * p); }
  template <class T>
  T one_of(std::initializer_list<T> list) {
    return *(list.begin() + below(list.size()));
  }
  double number(double least, double most);  // a multiple of 1/16
  int64_t extent();
  Shape shape(int least_rank, int most_rank, int64_t most_elements = 300);
  Shape broadcastable_to(const Shape& shape);

  std::string pick(const Wanted& wanted);  // a tensor of the program so far, or a new leaf
  std::string leaf(const Shape& shape, const LeafOptions& options = {});
  std::string maybe_leaf(const Shape& shape, const LeafOptions& options = {}) {
    return chance(0.7) ? leaf(shape, options) : "_";
  }
  // Whether the call in the making gets inputs in layouts that it may refuse, by an error that says so.
  bool may_refuse() { return style_.layouts && depth_ == 0 && chance(0.15); }
  static Statement refusable(Statement s, bool is) {
    return is ? std::move(s.set("expect", "maybe")) : std::move(s);
  }
  const Shape& shape_of(const std::string& name) const { return tensors_.at(name).tensor.shape(); }
  double bound(const std::string& name) const { return tensors_.at(name).bound; }
  // Adds the statement, whose results are at most `bound`; the first result's name.
  std::string emit(Statement s, double bound, int n_outs = 1);
  bool add(Statement s, double bound, int n_outs = 1) { return !emit(std::move(s), bound, n_outs).empty(); }

 private:
  struct Known {
    Tensor tensor;  // on a meta device
    double bound;
  };

  void step();
  void segment();
  void backward();
  std::string name(char letter) { return letter + std::to_string(++n_names_); }
  std::vector<std::string> usable(const Wanted& wanted) const;
  bool run(const Statement& s);

  uint64_t seed_, draws_ = 0, n_names_ = 0, n_streams_ = 0;
  Style style_;
  Device device_;
  Machine machine_;
  Env env_;
  std::map<std::string, Known> tensors_;
  std::vector<std::string> pool_;  // what statements may read, oldest first
  std::vector<std::string> leaves_;
  Program program_;
  std::vector<Statement>* body_;
  std::vector<Statement> new_leaves_;  // of the statement in the making, which they precede
  int depth_ = 0;
  bool broken_ = false;  // a statement raised: the program ends there, for the judge to say so
};

}  // namespace reckon::differential
