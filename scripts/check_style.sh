#!/usr/bin/env bash
# Checks the sources: every one is formatted as .clang-format says, and no function outside kernels has over 80 lines. With --tidy
# instead: .clang-tidy finds nothing (a quarter of an hour of CPU time; --tidy FILE... looks at these files only). Prints what it
# finds and exits with 1.
set -euo pipefail
cd "$(dirname "$0")/.."
sources() { git ls-files -- "$@"; }

if [ "${1:-}" != --tidy ]; then
  sources '*.h' '*.cpp' '*.cu' '*.cuh' | xargs clang-format --dry-run -Werror
  echo "format: $(sources '*.h' '*.cpp' '*.cu' '*.cuh' | wc -l) files are formatted"
  python3 scripts/check_functions.py
  exit 0
fi

shift
files=("$@")
if [ ${#files[@]} = 0 ]; then
  # Not kernels: they are compiled per instruction set, and their loops are long on purpose.
  mapfile -t files < <(sources 'runtime/*.cpp' 'ops/*.cpp' 'autograd/*.cpp' 'profiler/*.cpp' 'models/*.cpp' 'parity/*.cpp' 'calculators/*.cpp' \
    'studies/*.cpp' 'cli/*.cpp' | grep -vE '_(cpu|amx|eigen)\.cpp$|^ops/kernel/')
fi
# clang cannot read GCC's precompiled headers, so it gets commands without them; nothing is built here.
tidy=build-tidy
cmake -S . -B $tidy -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DRECKON_CUDA=OFF \
  -DRECKON_TESTS=OFF >/dev/null
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$(nproc)" clang-tidy --quiet -p $tidy 2>/dev/null
echo "clang-tidy: nothing found in ${#files[@]} files"
