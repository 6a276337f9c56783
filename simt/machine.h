// Runs CUDA kernels on the host, one fiber per CUDA thread, so that the kernels' own source is executed
// where there is no GPU, under AddressSanitizer and ThreadSanitizer too. Blocks run one after another on
// the calling thread; inside a block a thread runs until it waits at a barrier or a warp operation. Reports
// (as simt::Failure): barriers in divergent branches, warp operations whose lanes disagree, reads from
// lanes that take no part, deadlocks.
//
// It knows nothing of time, coalescing, bank conflicts or occupancy, and cannot run inline PTX.
//
// RECKON_SIMT_ORDER=reverse runs lanes and warps in the opposite order, which
// exposes results that depend on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include <vector_types.h>

namespace simt {

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What ran so far, for tests of profilers and launch plans.
struct Counters {
  int64_t launches = 0, blocks = 0, threads = 0, barriers = 0, warp_operations = 0;
  size_t most_dynamic_shared_bytes = 0;
};

// Limits of compute capability 9.0; a launch beyond them fails as it would there.
inline constexpr size_t kMostSharedBytes = 232448;
inline constexpr unsigned kMostThreads = 1024;

struct Stack;  // of a fiber

class Machine {
 public:
  Machine();
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  static Machine& get();  // of the process: kernels find their thread through it

  // `body(argument)` is one CUDA thread. Throws Failure.
  void run(dim3 grid, dim3 block, size_t shared_bytes, void (*body)(void*), void* argument);

  // What the running CUDA thread sees.
  uint3 thread_index() const { return current_->index; }
  uint3 block_index() const { return block_index_; }
  dim3 block_dim() const { return block_; }
  dim3 grid_dim() const { return grid_; }
  std::byte* dynamic_shared() const { return shared_; }
  unsigned lane() const { return current_->number % 32; }

  void barrier(int line);
  // Leaves `value` for the other lanes of `mask`, waits until all of them that still live did, and returns what
  // each left; *taking_part says which did. Valid until this warp's next operation but one. `orders_memory`: as
  // __syncwarp, which shuffles are not.
  const uint64_t* exchange(uint32_t mask, uint64_t value, int line, uint32_t* taking_part, bool orders_memory);

  const Counters& counters() const { return counters_; }

 private:
  enum class State : uint8_t { fresh, ready, at_barrier, at_warp, done };
  struct Thread {
    void* stack_pointer = nullptr;
    Stack* stack = nullptr;
    uint3 index{};
    uint32_t number = 0, turn = 0, mask = 0;
    int line = 0;
    State state = State::fresh;
    void* asan_stack = nullptr;
  };
  struct Warp {
    uint32_t live = 0, arrived = 0, mask = 0, turn = 0;
    int line = 0;
    uint64_t left[2][32] = {};
  };

  void run_block();
  void start_next();
  void resume(Thread& t);
  void wait();               // the current thread gives control back to the scheduler
  void finished(Thread& t);  // it has returned from its body
  bool step_warp(uint32_t w);
  void release_barrier();
  void report_deadlock();
  void switch_to(void* stack_pointer, Stack* stack);
  [[noreturn]] static void trampoline();

  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<Stack*> stacks_, free_stacks_;
  Thread* current_ = nullptr;
  Stack* starting_ = nullptr;
  void* scheduler_ = nullptr;  // its stack pointer while a fiber runs
  uint32_t n_ = 0, started_ = 0, done_ = 0, at_barrier_ = 0;
  dim3 grid_{}, block_{};
  uint3 block_index_{};
  std::byte* shared_ = nullptr;
  void (*body_)(void*) = nullptr;
  void* argument_ = nullptr;
  std::string failure_;        // of the block that runs; empty: none yet
  std::exception_ptr thrown_;  // what a CUDA thread threw, to be thrown again by run()
  bool reverse_ = false;
  Counters counters_;
  // For the sanitizers: the scheduler's own stack, and what stands for a barrier and the ends of a block.
  void* asan_scheduler_ = nullptr;
  const void* scheduler_bottom_ = nullptr;
  size_t scheduler_size_ = 0;
  void* tsan_scheduler_ = nullptr;
  char barrier_order_ = 0, begin_order_ = 0, end_order_ = 0;
};

extern Machine process_machine;
inline Machine& Machine::get() { return process_machine; }

[[noreturn]] void fail_reading(int own_lane, int lane, int line);

// Accesses of the emulator itself are not the kernel's: ThreadSanitizer must not see them.
#if defined(__SANITIZE_THREAD__)
class Unseen {
 public:
  Unseen();
  ~Unseen();
};
#else
struct Unseen {
  ~Unseen() {}
};
#endif

template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, A&&... a) {
  struct Call {
    void (*kernel)(P...);
    std::tuple<P...> values;
  } call{kernel, std::tuple<P...>(static_cast<P>(a)...)};
  Machine::get().run(
      grid, block, shared_bytes,
      [](void* p) {
        auto* c = static_cast<Call*>(p);
        std::apply(c->kernel, c->values);
      },
      &call);
}

}  // namespace simt
