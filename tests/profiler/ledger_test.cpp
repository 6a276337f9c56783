// The ledger against what the arena knows, against a model kept by hand, and over random programs.
#include "profiler/ledger.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <tuple>

#include "autograd/engine.h"
#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/fill/fill.h"
#include "ops/linear/linear.h"
#include "ops/sum/sum.h"
#include "profiler/audit.h"
#include "profiler/json.h"
#include "runtime/events/scope.h"
#include "runtime/memory/storage.h"
#include "tests/profiler/network.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

using namespace profiler;
using autograd::CheckpointPolicy;

int64_t sum_of_cells(const StepBooks& b) {
  int64_t sum = 0;
  for (const Cell& c : b.cells) sum += c.bytes;
  return sum;
}

void expect_closed(const StepBooks& b) {
  int64_t rounded = 0, count = 0, saved = 0, category = 0, on_timeline = 0;
  for (const Cell& c : b.cells) rounded += c.rounded, count += c.count;
  for (const SavedCell& c : b.saved) saved += c.alias ? 0 : c.bytes;
  for (int64_t n : b.peak_by_category()) category += n;
  for (const TimelinePoint& p : b.timeline) on_timeline = std::max(on_timeline, p.total());
  EXPECT_EQ(sum_of_cells(b), b.peak_bytes);
  EXPECT_EQ(rounded, b.peak_rounded);
  EXPECT_EQ(count, b.n_live_at_peak);
  EXPECT_EQ(saved, b.saved_bytes);
  EXPECT_EQ(category, b.peak_bytes);
  EXPECT_EQ(on_timeline, b.peak_bytes) << "the picture must not lose the peak";
  EXPECT_LE(b.timeline.size(), static_cast<size_t>(kTimelinePoints));
}

std::vector<StepBooks> all_books(const RunBooks& b) {
  std::vector<StepBooks> out;
  for (const auto* o : {&b.init, &b.between, &b.first, &b.last, &b.highest})
    if (*o) out.push_back(**o);
  return out;
}

TEST(Ledger, CellsSumToThePeakUnderEveryPolicyAndPrecision) {
  for (CheckpointPolicy p : {CheckpointPolicy::none, CheckpointPolicy::selective, CheckpointPolicy::sublayer,
                             CheckpointPolicy::block})
    for (DType t : {DType::f32, DType::bf16}) {
      const TrainedNetwork run = train_network({.policy = p, .precision = t});
      const RunBooks& b = run.record.books;
      ASSERT_TRUE(b.init && b.first && b.last && b.highest);
      for (const StepBooks& books : all_books(b)) expect_closed(books);
      EXPECT_EQ(b.highest->peak_bytes, run.at_end.peak_requested);
      EXPECT_EQ(b.highest->max_rounded, run.at_end.peak_rounded);
      EXPECT_EQ(b.last->max_reserved, run.at_end.peak_reserved);
      EXPECT_EQ(b.n_unknown_blocks, 0);
      EXPECT_EQ(b.n_events, run.events.size());
    }
}

TEST(Ledger, StepsFollowEachOtherWithoutAGap) {
  const TrainedNetwork run = train_network({.steps = 4});
  const RunBooks& b = run.record.books;
  ASSERT_EQ(b.series.size(), 4u);
  EXPECT_EQ(b.first->step, 0);
  EXPECT_EQ(b.last->step, 3);
  EXPECT_EQ(b.init->live_at_end, b.first->live_at_begin);
  EXPECT_EQ(b.series[2].live_at_end, b.last->live_at_begin);
  EXPECT_EQ(b.last->live_at_end, run.at_end.requested);
  // Momentum appears in the first step and stays.
  EXPECT_EQ(b.first->live_at_end, 2 * b.first->live_at_begin);
  EXPECT_EQ(b.series[1].peak_bytes, b.series[3].peak_bytes);
  EXPECT_EQ(b.series[1].n_events, b.series[3].n_events);
  EXPECT_EQ(b.between->live_at_end, 0);
}

TEST(Ledger, CountsTheWorkThatTheEventsState) {
  const TrainedNetwork run = train_network({.policy = CheckpointPolicy::block});
  const StepBooks& last = *run.record.books.last;
  Cost cost;
  int64_t launches = 0, calls = 0, booked_calls = 0;
  for (const Event& e : run.events) {
    if (e.step != last.step || e.kind == EventKind::freed) continue;
    if (e.kind == EventKind::op_end) cost += e.cost, ++calls;
    launches += e.kind == EventKind::launched;
  }
  Cost booked;
  for (const Cost& c : last.cost_by_phase()) booked += c;
  for (const WorkCell& w : last.work) {
    booked_calls += w.calls;
    EXPECT_GE(w.time_ns, 0);
  }
  EXPECT_EQ(booked, cost);
  EXPECT_EQ(booked_calls, calls);
  EXPECT_EQ(last.n_launches(), launches);
  int64_t in_ops = 0;
  for (int64_t t : last.time_by_phase()) in_ops += t;
  EXPECT_LE(in_ops, last.duration_ns);
  Cost total;
  for (const Cost& c : run.record.books.cost) total += c;
  Cost series;
  for (const StepLine& s : run.record.books.series) series += s.cost;
  EXPECT_EQ(total, series);
}

TEST(Ledger, RecomputeIsItsOwnColumnAndNotPartOfTheModel) {
  const auto split = [](CheckpointPolicy p) {
    return split_flops(train_network({.policy = p}).record.books.last->cost_by_phase());
  };
  const FlopSplit none = split(CheckpointPolicy::none), block = split(CheckpointPolicy::block);
  EXPECT_EQ(none.recompute, 0);
  EXPECT_GT(block.recompute, 0);
  EXPECT_EQ(none.model, block.model);
  EXPECT_EQ(none.optimizer, block.optimizer);
  EXPECT_EQ(block.executed() - none.executed(), block.recompute);
}

TEST(Ledger, KeptForBackwardCountsEachStorageOnceAndParametersApart) {
  const TrainedNetwork run = train_network({.steps = 2, .blocks = 1, .batch = 6});
  const StepBooks& b = *run.record.books.last;
  // Block: rms_norm keeps its statistic (6 rows), both linear layers keep their input (normed 6x24, silu output
  // 6x40), silu its input (6x40); the loss keeps h (6x24) once although both factors of h*h are it. x and the
  // parameters exist anyway.
  EXPECT_EQ(b.saved_bytes, 4 * (6 + 6 * 24 + 6 * 40 + 6 * 40 + 6 * 24));
  EXPECT_EQ(b.saved_alias_bytes, 4 * (24 + 24 * 40 * 2 + 6 * 24));
}

TEST(Ledger, BlocksBornBeforeItListenedAreReported) {
  auto device = make_device(DeviceKind::meta);
  auto before = std::make_unique<Storage>(*device, device->arena(), 100, Category::transient, NameId{});
  Ledger ledger;
  device->add_sink(&ledger);
  before.reset();
  ledger.close();
  EXPECT_EQ(ledger.books().n_unknown_blocks, 1);
  EXPECT_EQ(ledger.live_bytes(), 0);
}

TEST(Ledger, EmptyBooksAreAnErrorThatSaysWhy) {
  Ledger ledger;
  ledger.close();
  EXPECT_THROW(ledger.books().for_memory(), Error);
}

TEST(Ledger, AnOpLeftByAnExceptionDoesNotSpoilTheTimes) {
  auto device = make_device(DeviceKind::meta);
  Ledger ledger;
  device->add_sink(&ledger);
  const auto mark = [&](EventKind kind, std::string_view op) {
    Event e{.kind = kind, .op = intern(op)};
    device->emit(e);
  };
  device->begin_step(0);
  mark(EventKind::op_begin, "outer"), mark(EventKind::op_begin, "lost");
  mark(EventKind::op_end, "outer");
  mark(EventKind::op_begin, "after"), mark(EventKind::op_end, "after");
  device->end_step();
  ASSERT_EQ(ledger.books().last->work.size(), 2u);
  for (const WorkCell& w : ledger.books().last->work) EXPECT_EQ(w.calls, 1);
}

// ---- random programs ----------------------------------------------------------------------------------------

using Key = std::tuple<NameId, NameId, NameId, Phase, Category>;

// Storages made, changed and dropped at random, with books kept by hand beside the ledger.
class RandomProgram {
 public:
  explicit RandomProgram(uint64_t seed) : random_(seed), device_(make_device(DeviceKind::meta)) {
    device_->add_sink(&ledger_);
  }
  ~RandomProgram() { device_->remove_sink(&ledger_); }

  void run(int n) {
    for (int i = 0; i < n; ++i) act();
  }
  void begin_step(int64_t step) {
    device_->begin_step(step);
    peak_ = -1;
    look();
  }
  void end_step() { device_->end_step(); }

  Ledger ledger_;
  std::map<Key, std::tuple<int64_t, int64_t>> cells_at_peak_;
  int64_t peak_ = -1;

 private:
  struct Held {
    std::unique_ptr<Storage> storage;
    NameId op, module, label;
    Phase phase;
  };
  size_t below(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random_); }

  void look() {
    int64_t live = 0;
    for (const Held& h : held_) live += static_cast<int64_t>(h.storage->bytes());
    if (live <= peak_) return;
    peak_ = live;
    cells_at_peak_.clear();
    for (const Held& h : held_) {
      auto& [bytes, count] = cells_at_peak_[{h.op, h.module, h.label, h.phase, h.storage->category()}];
      bytes += static_cast<int64_t>(h.storage->bytes());
      ++count;
    }
  }

  void act() {
    const size_t choice = below(10);
    if (choice < 4 || held_.empty()) {
      ModuleScope layers("layers"), index(std::to_string(below(4)));
      PhaseScope phase(static_cast<Phase>(below(kPhases)));
      context().op = intern("op" + std::to_string(below(5)));
      const NameId label = intern("label" + std::to_string(below(3)));
      // Mostly small; now and then one that needs a segment of its own.
      const size_t bytes = below(20) == 0 ? below(size_t{30} << 20) : below(5000);
      held_.push_back({std::make_unique<Storage>(*device_, device_->arena(), bytes,
                                                 static_cast<Category>(below(kCategories)), label),
                       context().op, context().module, label, context().phase});
    } else if (choice < 7) {
      const size_t i = below(held_.size());
      while (held_[i].storage->savers()) held_[i].storage->drop_saver();
      std::swap(held_[i], held_.back());
      held_.pop_back();
    } else {
      Storage& s = *held_[below(held_.size())].storage;
      if (choice == 7) s.add_saver();
      if (choice == 8 && s.savers()) s.drop_saver();
      if (choice == 9) s.set_category(static_cast<Category>(below(kCategories)));
    }
    look();
  }

  std::mt19937_64 random_;
  std::unique_ptr<Device> device_;
  std::vector<Held> held_;
};

TEST(RandomPrograms, CellsEqualBooksKeptByHandToTheByte) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    context() = {};
    RandomProgram program(seed);
    program.ledger_.keep_events(true);
    program.run(50);
    for (int64_t step = 0; step < 4; ++step) {
      program.begin_step(step);
      program.run(static_cast<int>(20 + seed * 10));
      program.end_step();
      const StepBooks& b = *program.ledger_.books().last;
      expect_closed(b);
      ASSERT_EQ(b.peak_bytes, program.peak_) << "seed " << seed;
      std::map<Key, std::tuple<int64_t, int64_t>> cells;
      for (const Cell& c : b.cells) cells[{c.op, c.module, c.label, c.phase, c.category}] = {c.bytes, c.count};
      ASSERT_EQ(cells, program.cells_at_peak_) << "seed " << seed << " step " << step;
    }
    program.ledger_.close();
    const BooksCheck check = check_books(program.ledger_.events());
    EXPECT_TRUE(check.closed) << check.text;
    const RunRecord record{.books = program.ledger_.books()};
    EXPECT_EQ(run_from_json(to_json(record), "text").books, record.books);
  }
  context() = {};
}

TEST(RandomPrograms, BooksOfRandomGraphsWithBackwardClose) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    std::mt19937_64 random(seed);
    const auto below = [&](size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random); };
    auto device = make_device(DeviceKind::meta);
    Ledger ledger;
    ledger.keep_events(true);
    device->add_sink(&ledger);
    {
      Tensor weight = Tensor::empty(*device, {8, 8}, DType::f32, Category::parameter, "w");
      autograd::set_requires_grad(weight);
      for (int64_t step = 0; step < 2; ++step) {
        device->begin_step(step);
        const auto policy = static_cast<CheckpointPolicy>(below(2));
        autograd::CheckpointScope checkpoint(policy);
        PhaseScope phase(Phase::forward);
        TensorList pool{ops::scale(weight, 0.5)};
        for (int i = 0; i < 25; ++i) {
          ModuleScope module("part"), index(std::to_string(below(3)));
          const Tensor& a = pool[below(pool.size())];
          const Tensor& b = pool[below(pool.size())];
          switch (below(6)) {
            case 0:
              pool.push_back(ops::add(a, b));
              break;
            case 1:
              pool.push_back(ops::mul(a, b));
              break;
            case 2:
              pool.push_back(ops::silu(a));
              break;
            case 3:
              pool.push_back(ops::linear(a, weight));
              break;
            case 4:
              pool.push_back(ops::exp(a));
              break;
            default:
              if (pool.size() > 1) pool.erase(pool.begin() + static_cast<ptrdiff_t>(below(pool.size())));
          }
        }
        Tensor total = ops::sum_all(pool.back());
        if (below(4) == 0) pool.clear();
        autograd::backward(total);
        autograd::clear_grad(weight);
        pool.clear(), total = {};
        device->end_step();
      }
    }
    ledger.close();
    for (const StepBooks& b : all_books(ledger.books())) expect_closed(b);
    EXPECT_EQ(ledger.books().highest->peak_bytes, device->arena().stats().peak_requested) << "seed " << seed;
    const BooksCheck check = check_books(ledger.events());
    EXPECT_TRUE(check.closed) << "seed " << seed << ": " << check.text;
    EXPECT_EQ(check.n_live_at_end, 0);
    device->remove_sink(&ledger);
    context() = {};
  }
}

}  // namespace
}  // namespace reckon::testing
