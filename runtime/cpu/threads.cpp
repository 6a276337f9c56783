#include "runtime/cpu/threads.h"

#include <omp.h>
#include <unistd.h>

#include <cstdlib>

#include "runtime/core/error.h"

namespace reckon {

int cpu_threads() { return omp_get_max_threads(); }

void set_cpu_threads(int n) {
  RECKON_CHECK(n >= 1 && n <= 4096, "the number of threads must be 1 to 4096, got {}", n);
  omp_set_num_threads(n);
}

void restart_with_short_spins(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") || std::getenv("OMP_WAIT_POLICY")) return;
  setenv("GOMP_SPINCOUNT", "1000", 1);
  execv("/proc/self/exe", argv);  // returns only when it failed; then the defaults stay
}

}  // namespace reckon
