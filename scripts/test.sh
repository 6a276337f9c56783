#!/usr/bin/env bash
# Installs what is missing, builds, and passes every test. The same command everywhere, CI included.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install_dependencies.sh
# The plugin for one architecture: nvcc compiles every kernel once for each. Its kernels on the host under sanitizers as well.
scripts/build.sh build -DCMAKE_CUDA_ARCHITECTURES=90-real -DRECKON_SIMT_SANITIZERS=ON
scripts/check_layers.py
# Left out: a minute of libFuzzer per parser. With clang and its fuzzer runtime installed: ctest --test-dir build -L slow
ctest --test-dir build --output-on-failure --parallel "$(nproc)" -LE slow "$@"
