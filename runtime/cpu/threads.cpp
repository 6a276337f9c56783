#include "runtime/cpu/threads.h"

#include <omp.h>

#include "runtime/core/error.h"

namespace reckon {

int cpu_threads() { return omp_get_max_threads(); }

void set_cpu_threads(int n) {
  RECKON_CHECK(n >= 1 && n <= 4096, "the number of threads must be 1 to 4096, got {}", n);
  omp_set_num_threads(n);
}

}  // namespace reckon
