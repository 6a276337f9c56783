#!/usr/bin/env bash
# Configures and builds: scripts/build.sh [FOLDER] [TARGET or -DNAME=VALUE]...
# The folder is build/ unless named; without a target everything is built. The program is FOLDER/reckon.
set -euo pipefail
cd "$(dirname "$0")/.."
build=build
[ $# -eq 0 ] || { build=$1; shift; }
options=() targets=()
for word in "$@"; do
  case $word in -D*) options+=("$word") ;; *) targets+=(--target "$word") ;; esac
done
[ -f "$build/CMakeCache.txt" ] || options+=(-G Ninja)
# What ccache needs to be told before it keeps objects made with precompiled headers. CCACHE_DEPEND: it compares the contents of
# what a file includes, not its preprocessed text, in which a changed comment does not show; GCC's `#pragma once` does see it.
command -v ccache >/dev/null 2>&1 && options+=("-DCMAKE_CXX_COMPILER_LAUNCHER=env;CCACHE_DEPEND=1;CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime;ccache")
cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release "${options[@]}" >"$build.log" 2>&1 || { cat "$build.log" >&2; exit 1; }
grep -E 'left out|: off' "$build.log" || true
rm -f "$build.log"
export NINJA_STATUS="${NINJA_STATUS:-[%f of %t, %e s] }"
cmake --build "$build" --parallel "$(nproc)" "${targets[@]}"
