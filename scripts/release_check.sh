#!/usr/bin/env bash
# Once per release: the whole ordinary suite under AddressSanitizer and UndefinedBehaviorSanitizer, in a build of its own, and more random
# programs than a change gets. Prints what ran and how long it took; the figures of the last run stand in docs/testing.md.
#   scripts/release_check.sh [arguments of ctest]
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '\n== %2d min %2d s: %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"; }

say "build with sanitizers"
scripts/build.sh build-sanitize -DRECKON_SANITIZE=ON -DRECKON_TESTS=ON -DRECKON_CUDA=OFF -DRECKON_SIMT_SANITIZERS=OFF

say "the ordinary suite"
# One thread a test: the sanitizers know nothing of what libgomp orders. Leaks are looked for by the tests themselves, byte by byte.
export ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 GOMP_SPINCOUNT=1000
ctest --test-dir build-sanitize --output-on-failure --parallel "$(nproc)" --timeout 7200 -LE slow "$@"

say "random programs of this week"
# Seeds that no change has seen: they begin with the day.
build-sanitize/tests/differential_test --from "$(date +%Y%m%d)0000" --programs 20000

say "passed"
