// Makes random programs. One seed gives one program on every machine: decisions depend on draws and on shapes alone,
// which a dry run of the program so far tells. Bounds of the values are carried along, so that no program overflows.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/differential/machine.h"
#include "tests/differential/operations.h"

namespace reckon::differential {

// Which kinds of statements a program may have.
struct Style {
  DType type = DType::f32;  // of most leaves
  std::string low;          // autocast's type, where it is on somewhere
  bool mixed = false;       // types of leaves differ
  bool segments = false, layouts = false, empties = false, writes = false, errors = false, hooks = false,
       scopes = false;
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
  std::string type = {};  // empty: the program's
  bool dense = false;     // no strange layout
  bool constant = false;  // no gradient
  bool fixed = false;     // keeps its type in f64 runs
};

class Generator {
 public:
  // `before` gets the program so far, before each statement is tried: what is left of one whose dry run crashes.
  // `gpu`: without f64, which a GPU does not compute in.
  explicit Generator(uint64_t seed, bool gpu = false, std::function<void(const Program&)> before = {});
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
  std::string type();                             // of floats, one that the program has
  std::string other_type(const std::string& of);  // to cast to
  bool dense_parameters() { return !style_.layouts || !chance(0.15); }

  std::string pick(const Wanted& wanted);  // a tensor of the program so far, or a new leaf
  std::string leaf(const Shape& shape, const LeafOptions& options = {});
  std::string maybe_leaf(const Shape& shape, const LeafOptions& options = {}) {
    return chance(0.7) ? leaf(shape, options) : "_";
  }
  std::string same_shape(const std::string& as);  // there already, or a new leaf
  std::string writable();                         // may be written in place; empty: nothing is
  Statement host_values(Statement s);
  const Shape& shape_of(const std::string& name) const { return tensors_.at(name).tensor.shape(); }
  std::string type_of(const std::string& name) const {
    return std::string(name_of(tensors_.at(name).tensor.dtype()));
  }
  double bound(const std::string& name) const { return tensors_.at(name).bound; }
  // Adds the statement, whose results are at most `bound`; the first result's name, empty where types did not fit.
  std::string emit(Statement s, double bound, int n_outs = 1);
  bool add(Statement s, double bound, int n_outs = 1) { return !emit(std::move(s), bound, n_outs).empty(); }

 private:
  struct Known {
    Tensor tensor;  // on a meta device
    double bound;
    bool owner;  // made its storage, shares no other's, and came from an op
  };

  void step();
  void operation();
  void segment();
  void finish_segment(Statement s, const std::vector<std::string>& made);
  void scope();
  void hook();
  void drop();
  void bad_statement();
  bool backward();
  void optimizer();
  void forget_graph();
  void attempt_before();
  void remember(const std::string& name, double bound, bool constant);
  std::string name(char letter) { return letter + std::to_string(++n_names_); }
  std::string stream() { return std::to_string(1000 * seed_ + ++n_streams_); }
  std::vector<std::string> usable(const Wanted& wanted) const;
  std::string run(const Statement& s);  // what it raised

  std::function<void(const Program&)> before_;
  bool gpu_;
  uint64_t seed_, draws_ = 0, n_names_ = 0, n_streams_ = 0;
  Style style_;
  Device device_;
  Machine machine_;
  Env env_;
  std::map<std::string, Known> tensors_;
  std::set<const Storage*> owned_, frozen_;  // frozen: someone holds the values as constants
  std::vector<std::string> pool_;            // what statements may read, oldest first
  std::vector<std::string> leaves_;
  Program program_;
  std::vector<Statement>* body_;
  std::vector<Statement> new_leaves_;  // of the statement in the making, which they precede
  int depth_ = 0, scopes_ = 0;
  bool thrower_ = false;  // a hook throws at the next backward
  bool broken_ = false;   // a statement raised: the program ends there, for the judge to say so
};

}  // namespace reckon::differential
