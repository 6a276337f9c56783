#include "simt/machine.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
extern "C" {
void AnnotateIgnoreReadsBegin(const char*, int);
void AnnotateIgnoreReadsEnd(const char*, int);
void AnnotateIgnoreWritesBegin(const char*, int);
void AnnotateIgnoreWritesEnd(const char*, int);
}
#endif

#if !defined(__x86_64__)
#error "the emulator switches stacks in x86-64 assembly"
#endif

// Saves the callee's registers on this stack, leaves its pointer in *from, and goes on where `to` stopped. The
// jump instead of a return spares the processor a wrong guess at each switch.
extern "C" void simt_switch(void** from, void* to);
asm(R"(
.text
.globl simt_switch
.hidden simt_switch
.type simt_switch,@function
simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rcx
  jmp *%rcx
.size simt_switch, .-simt_switch
)");

namespace simt {
namespace {

constexpr size_t kStackBytes = 128 * 1024, kGuardBytes = 4096;

#if defined(__SANITIZE_THREAD__)
void publish(void* order) { __tsan_release(order); }
void observe(void* order) { __tsan_acquire(order); }
#else
void publish(void*) {}
void observe(void*) {}
#endif

}  // namespace

#if defined(__SANITIZE_THREAD__)
Unseen::Unseen() {
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}
Unseen::~Unseen() {
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
}
#endif

struct Stack {
  std::byte* low = nullptr;  // the page below it is a guard
  void* tsan_fiber = nullptr;
};

Machine process_machine;

void fail_reading(int own_lane, int lane, int line) {
  throw Failure(fmt::format("lane {} reads lane {}, which takes no part (line {})", own_lane, lane, line));
}

Machine::Machine() {
  const char* order = std::getenv("RECKON_SIMT_ORDER");
  reverse_ = order && std::strcmp(order, "reverse") == 0;
}

Machine::~Machine() {
  for (Stack* s : stacks_) {
    munmap(s->low - kGuardBytes, kStackBytes + kGuardBytes);
    delete s;
  }
}

void Machine::run(dim3 grid, dim3 block, size_t shared_bytes, void (*body)(void*), void* argument) {
  const size_t n = size_t{block.x} * block.y * block.z;
  if (n == 0 || n > kMostThreads || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 ||
      grid.z > 65535 || shared_bytes > kMostSharedBytes)
    throw Failure(
        fmt::format("invalid launch: grid ({}, {}, {}), block ({}, {}, {}), {} bytes of dynamic shared memory",
                    grid.x, grid.y, grid.z, block.x, block.y, block.z, shared_bytes));
  publish(&begin_order_);
  {
    Unseen unseen;
    grid_ = grid;
    block_ = block;
    body_ = body;
    argument_ = argument;
    n_ = static_cast<uint32_t>(n);
    ++counters_.launches;
    counters_.most_dynamic_shared_bytes = std::max(counters_.most_dynamic_shared_bytes, shared_bytes);
    threads_.resize(std::max<size_t>(threads_.size(), n));
    warps_.resize(std::max<size_t>(warps_.size(), (n + 31) / 32));
    for (unsigned z = 0; z < grid.z; ++z)
      for (unsigned y = 0; y < grid.y; ++y)
        for (unsigned x = 0; x < grid.x; ++x) {
          // A buffer of the exact size, all NaN, so that overruns and reads of what nobody wrote show.
          shared_ = shared_bytes ? static_cast<std::byte*>(std::malloc(shared_bytes)) : nullptr;
          if (shared_bytes) std::memset(shared_, 0xff, shared_bytes);
          block_index_ = {x, y, z};
          run_block();
          std::free(shared_);
          shared_ = nullptr;
          if (!failure_.empty()) {
            observe(&end_order_);
            if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
            throw Failure(failure_);
          }
        }
  }
  observe(&end_order_);
}

void Machine::run_block() {
  failure_.clear();
  started_ = done_ = at_barrier_ = 0;
  const uint32_t n_warps = (n_ + 31) / 32;
  for (uint32_t w = 0; w < n_warps; ++w) {
    const uint32_t lanes = std::min(32u, n_ - w * 32);
    warps_[w].live = lanes == 32 ? ~0u : (1u << lanes) - 1;
    warps_[w].arrived = warps_[w].turn = 0;
  }
  for (uint32_t i = 0; i < n_; ++i) {
    Thread& t = threads_[i];
    t.number = i;
    t.index = {i % block_.x, i / block_.x % block_.y, i / (block_.x * block_.y)};
    t.state = State::fresh;
    t.turn = 0;
  }
#if defined(__SANITIZE_THREAD__)
  tsan_scheduler_ = __tsan_get_current_fiber();
#endif
  while (started_ < n_ && failure_.empty()) start_next();
  while (done_ < n_ && failure_.empty()) {
    bool moved = false;
    for (uint32_t w = 0; w < n_warps && failure_.empty(); ++w)
      moved |= step_warp(reverse_ ? n_warps - 1 - w : w);
    if (!failure_.empty()) break;
    if (at_barrier_ > 0 && at_barrier_ == n_ - done_)
      release_barrier();
    else if (!moved && done_ < n_)
      report_deadlock();
  }
  free_stacks_ = stacks_;  // after a failure the abandoned ones too
#if defined(__SANITIZE_THREAD__)
  // Blocks are ordered: stacks and static shared memory serve the next one. Of a thread that a failure
  // abandoned, that is said here in its place.
  for (uint32_t i = 0; i < n_ && !failure_.empty(); ++i) {
    if (threads_[i].state == State::done || threads_[i].state == State::fresh) continue;
    __tsan_switch_to_fiber(threads_[i].stack->tsan_fiber, __tsan_switch_to_fiber_no_sync);
    publish(&end_order_);
    __tsan_switch_to_fiber(tsan_scheduler_, __tsan_switch_to_fiber_no_sync);
  }
  observe(&end_order_);
  publish(&begin_order_);
#endif
  ++counters_.blocks;
  counters_.threads += n_;
}

// One warp goes on until it can do no more.
bool Machine::step_warp(uint32_t w) {
  const uint32_t lanes = std::min(32u, n_ - w * 32);
  bool moved = false;
  for (bool again = true; again && failure_.empty();) {
    again = false;
    for (uint32_t i = 0; i < lanes && failure_.empty(); ++i) {
      Thread& t = threads_[w * 32 + (reverse_ ? lanes - 1 - i : i)];
      const bool can = t.state == State::ready || (t.state == State::at_warp && warps_[w].turn >= t.turn);
      if (!can) continue;
      again = moved = true;
      resume(t);
    }
  }
  return moved;
}

void Machine::start_next() {
  if (free_stacks_.empty()) {
    void* p = mmap(nullptr, kStackBytes + kGuardBytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw Failure("no memory for the stack of a CUDA thread");
    mprotect(p, kGuardBytes, PROT_NONE);
    auto* s = new Stack{static_cast<std::byte*>(p) + kGuardBytes};
    stacks_.push_back(s);
    free_stacks_.push_back(s);
  }
  starting_ = free_stacks_.back();
  free_stacks_.pop_back();
  // As if it had been switched away from at the start of the trampoline: a return address nobody
  // uses, the entry, and six registers.
  auto** top = reinterpret_cast<void**>(starting_->low + kStackBytes);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&Machine::trampoline);
  top -= 6;
#if defined(__SANITIZE_ADDRESS__)
  // Frames that a failure abandoned here left their red zones behind.
  __asan_unpoison_memory_region(starting_->low, kStackBytes);
#endif
#if defined(__SANITIZE_THREAD__)
  if (!starting_->tsan_fiber) starting_->tsan_fiber = __tsan_create_fiber(0);
#endif
  switch_to(top, starting_);
}

void Machine::resume(Thread& t) {
  current_ = &t;
  t.state = State::ready;
  switch_to(t.stack_pointer, t.stack);
}

void Machine::switch_to(void* stack_pointer, [[maybe_unused]] Stack* stack) {
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(stack->tsan_fiber, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&asan_scheduler_, stack->low, kStackBytes);
#endif
  simt_switch(&scheduler_, stack_pointer);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(asan_scheduler_, nullptr, nullptr);
#endif
}

void Machine::wait() {
  Thread& t = *current_;
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(tsan_scheduler_, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&t.asan_stack, scheduler_bottom_, scheduler_size_);
#endif
  simt_switch(&t.stack_pointer, scheduler_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(t.asan_stack, &scheduler_bottom_, &scheduler_size_);
#endif
}

// Runs one CUDA thread after another on this stack for as long as none of them waits: kernels
// without barriers never switch.
void Machine::trampoline() {
  Machine& m = get();
  Stack* stack = m.starting_;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &m.scheduler_bottom_, &m.scheduler_size_);
#endif
  observe(&m.begin_order_);
  Thread* t = nullptr;
  do {
    {
      Unseen unseen;
      const uint32_t i = m.started_++;
      t = &m.threads_[m.reverse_ ? m.n_ - 1 - i : i];
      t->stack = stack;
      t->state = State::ready;
      m.current_ = t;
    }
    try {
      m.body_(m.argument_);
    } catch (...) {
      Unseen unseen;
      m.thrown_ = std::current_exception();
      m.failure_ = "a kernel threw";
    }
    Unseen unseen;
    m.finished(*t);
#if defined(__SANITIZE_THREAD__)
    break;  // one fiber per CUDA thread, or races between threads that share one would not show
#endif
  } while (m.started_ < m.n_ && m.failure_.empty());
  publish(&m.end_order_);
  {
    Unseen unseen;
#if !defined(__SANITIZE_THREAD__)
    m.free_stacks_.push_back(stack);
#endif
    m.current_ = t;
  }
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(m.tsan_scheduler_, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(nullptr, m.scheduler_bottom_, m.scheduler_size_);
#endif
  simt_switch(&t->stack_pointer, m.scheduler_);
  __builtin_unreachable();
}

void Machine::finished(Thread& t) {
  t.state = State::done;
  ++done_;
  Warp& w = warps_[t.number / 32];
  w.live &= ~(1u << (t.number % 32));
  if (w.arrived && w.arrived == (w.mask & w.live)) {
    w.arrived = 0;
    ++w.turn;
  }
}

void Machine::release_barrier() {
  const Thread* first = nullptr;
  for (uint32_t i = 0; i < n_; ++i) {
    Thread& t = threads_[i];
    if (t.state != State::at_barrier) continue;
    if (first && first->line != t.line) {
      failure_ = fmt::format(
          "divergent barrier in block ({}, {}, {}): thread {} waits at __syncthreads() of line {}, thread {} "
          "at line {}",
          block_index_.x, block_index_.y, block_index_.z, first->number, first->line, t.number, t.line);
      return;
    }
    if (!first) first = &t;
    t.state = State::ready;
  }
  at_barrier_ = 0;
  ++counters_.barriers;
}

void Machine::report_deadlock() {
  const Thread* first = nullptr;
  uint32_t waiting = 0;
  for (uint32_t i = 0; i < n_; ++i)
    if (threads_[i].state == State::at_warp) {
      ++waiting;
      if (!first) first = &threads_[i];
    }
  failure_ = fmt::format(
      "deadlock in block ({}, {}, {}): {} threads done, {} at __syncthreads(), {} at a warp operation",
      block_index_.x, block_index_.y, block_index_.z, done_, at_barrier_, waiting);
  if (first)
    failure_ += fmt::format(" (thread {}, line {}: mask {:08x}, arrived {:08x})", first->number, first->line,
                            first->mask, warps_[first->number / 32].arrived);
}

void Machine::barrier(int line) {
  {
    Unseen unseen;
    current_->state = State::at_barrier;
    current_->line = line;
    ++at_barrier_;
  }
  publish(&barrier_order_);
  wait();
  observe(&barrier_order_);
}

const uint64_t* Machine::exchange(uint32_t mask, uint64_t value, int line, uint32_t* taking_part,
                                  bool orders_memory) {
  Unseen unseen;
  Thread& t = *current_;
  Warp& w = warps_[t.number / 32];
  const uint32_t lane = t.number % 32;
  ++counters_.warp_operations;
  if (!(mask >> lane & 1))
    throw Failure(
        fmt::format("lane {} is not in the mask {:08x} of its own warp operation (line {})", lane, mask, line));
  if (w.arrived && w.mask != mask)
    throw Failure(fmt::format("lanes of a warp give the masks {:08x} (line {}) and {:08x} (line {})", w.mask,
                              w.line, mask, line));
  if (w.arrived && w.line != line)
    throw Failure(fmt::format("lanes of a warp meet at different operations: lines {} and {}", w.line, line));
  w.mask = mask;
  w.line = line;
  w.arrived |= 1u << lane;
  t.mask = mask;
  t.line = line;
  t.turn = w.turn + 1;
  uint64_t* left = w.left[t.turn % 2];
  left[lane] = value;
  const uint32_t part = mask & w.live;
  if (taking_part) *taking_part = part;
  if (orders_memory) publish(&w);
  if (w.arrived == part) {
    w.arrived = 0;
    ++w.turn;
  } else {
    t.state = State::at_warp;
    wait();
    t.state = State::ready;
  }
  if (orders_memory) observe(&w);
  return left;
}

}  // namespace simt
