#!/usr/bin/env bash
# Configures and builds into build/ (or the folder given); the program is build/reckon.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
generator=()
[ -f "$build/CMakeCache.txt" ] || generator=(-G Ninja)
launcher=()
# What ccache needs to be told before it keeps objects made with precompiled headers.
command -v ccache >/dev/null 2>&1 && launcher=("-DCMAKE_CXX_COMPILER_LAUNCHER=env;CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime;ccache")
cmake -S . -B "$build" "${generator[@]}" "${launcher[@]}" -DCMAKE_BUILD_TYPE=Release "${@:2}" >/dev/null
cmake --build "$build" --parallel "$(nproc)"
