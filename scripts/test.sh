#!/usr/bin/env bash
# Installs what is missing, checks the sources, builds everything, passes the tests, and says what was left out.
#   scripts/test.sh [--full] [arguments of ctest]
# --full is what CI runs: also the CUDA plugin, and the GPU kernels under sanitizers.
set -euo pipefail
cd "$(dirname "$0")/.."
full=0
[ "${1:-}" != --full ] || { full=1; shift; }
left_out=()
say() { printf '\n== %2d min %2d s: %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"; }

say "packages"
scripts/install_dependencies.sh --tests --style

say "sources: format, length of functions, layers"
scripts/check_style.sh
python3 scripts/check_layers.py

say "build"
if [ $full = 1 ]; then
  # The plugin for one architecture: nvcc compiles every kernel once for each.
  options=(-DRECKON_CUDA=AUTO -DCMAKE_CUDA_ARCHITECTURES=90-real -DRECKON_SIMT_SANITIZERS=ON)
else
  options=(-DRECKON_CUDA=OFF -DRECKON_SIMT_SANITIZERS=OFF)
  left_out+=("the CUDA plugin and its tests (7 minutes of nvcc on two cores)"
    "GPU kernels under AddressSanitizer and ThreadSanitizer (5 minutes to build, 6 to run)"
    "  these two: scripts/test.sh --full")
fi
scripts/build.sh build -DRECKON_TESTS=ON "${options[@]}"

say "tests"
ctest --test-dir build --output-on-failure --parallel "$(nproc)" -LE slow "$@"
left_out+=("a minute of libFuzzer for each parser and the slowest figures: ctest --test-dir build -L slow, with clang and its fuzzer runtime installed")

left_out+=("clang-tidy (a quarter of an hour of CPU time): scripts/check_style.sh --tidy")
if [ $full = 1 ] && ! command -v nvcc >/dev/null && [ ! -x /usr/local/cuda/bin/nvcc ]; then left_out+=("the CUDA plugin: no nvcc here"); fi
[ -n "$(nvidia-smi -L 2>/dev/null || true)" ] || left_out+=("everything that runs on a card: no GPU here (docs/gpu.md)")

say "passed. Left out:"
printf '  %s\n' "${left_out[@]}"
