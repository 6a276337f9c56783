// The one thread pool is OpenMP's; this is its size and its patience.
#pragma once

namespace reckon {

int cpu_threads();            // OMP_NUM_THREADS, else the processors this process may use
void set_cpu_threads(int n);  // Error unless 1 <= n <= 4096

// libgomp's threads spin for milliseconds at every barrier by default, which on a machine that is shared with
// other work makes a step up to twenty times slower. It reads GOMP_SPINCOUNT once, when it is loaded; so this
// sets it and starts the program again in place. Does nothing when the user chose (GOMP_SPINCOUNT or
// OMP_WAIT_POLICY). Call it first in main.
void restart_with_short_spins(char** argv);

}  // namespace reckon
