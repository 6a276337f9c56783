#!/usr/bin/env bash
# Configures and builds into build/ (or the folder given); the program is build/reckon.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
generator=()
[ -f "$build/CMakeCache.txt" ] || generator=(-G Ninja)
launcher=()
command -v ccache >/dev/null 2>&1 && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
cmake -S . -B "$build" "${generator[@]}" "${launcher[@]}" -DCMAKE_BUILD_TYPE=Release "${@:2}" >/dev/null
cmake --build "$build" --parallel "$(nproc)"
