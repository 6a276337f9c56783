// The one thread pool is OpenMP's; this is its size.
#pragma once

namespace reckon {

int cpu_threads();            // OMP_NUM_THREADS, else the processors this process may use
void set_cpu_threads(int n);  // Error unless 1 <= n <= 4096

}  // namespace reckon
