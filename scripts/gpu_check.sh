#!/usr/bin/env bash
# Everything that needs a GPU, in one call without network, meant to end within nine minutes (not timed on a card yet):
#   scripts/gpu_check.sh OUT [PART...]
# Builds, then runs each part with a verdict of its own, writes logs, figures and OUT/verdicts.txt, and exits with 1 when a
# part fails. Parts: build kernels parity audit sanitizer profiler benchmark (all when none is named).
# Packages that the machine lacks are taken from packages/ (scripts/gpu_packages.sh).
set -uo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || { echo "usage: scripts/gpu_check.sh OUT [PART...]" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift
parts=${*:-build kernels parity audit sanitizer profiler benchmark}
build=${RECKON_GPU_BUILD:-build-gpu}
export PATH="$PWD/packages/usr/bin:$PATH" PYTHONPATH="$PWD/packages/python${PYTHONPATH:+:$PYTHONPATH}" GOMP_SPINCOUNT=1000
: > "$out/verdicts.txt"
failed=0

# verdict PART SECONDS STATUS: passed, failed, or left out with the reason
verdict() {
  printf '%-12s %5s s  %s\n' "$1" "$2" "$3" | tee -a "$out/verdicts.txt"
  case $3 in failed*) failed=1 ;; esac
}
# part NAME LIMIT COMMAND: runs it with a time limit, its output in OUT/NAME.log
part() {
  local name=$1 limit=$2 begin=$SECONDS
  shift 2
  case " $parts " in *" $name "*) ;; *) return ;; esac
  if timeout "$limit" "$@" > "$out/$name.log" 2>&1; then
    verdict "$name" $((SECONDS - begin)) passed
  else
    local status=$?
    verdict "$name" $((SECONDS - begin)) "failed ($([ $status = 124 ] && echo "not within $limit s" || echo "exit code $status"); $(grep -aE 'rror|FAILED|disagree|differ' "$out/$name.log" | tail -1 | cut -c1-160))"
  fi
}

compile() {
  cmake -S . -B "$build" -G "$(command -v ninja > /dev/null && echo Ninja || echo 'Unix Makefiles')" -DRECKON_CUDA=ON -DCMAKE_PREFIX_PATH="$PWD/packages/usr" \
    -DCMAKE_CUDA_ARCHITECTURES="${RECKON_GPU_ARCH:-90-real}" &&
  cmake --build "$build" --parallel "$(nproc)" --target reckon reckon_cuda cuda_test &&
  "$build/reckon" devices && "$build/reckon" devices | grep cuda | grep -vq 'not available'
}
# Every op against the CPU, determinism, events of the dry run; training on the card: losses of the CPU, policies bit for bit.
kernels() { "$build/tests/cuda_test" --gtest_brief=1; }
parity() {
  local bad=0
  for dtype in f32 bf16; do
    for fuse in none all; do
      "$build/reckon" parity tests/reference --device cuda --dtype $dtype --fuse $fuse || bad=1
    done
  done
  return $bad
}
audit() {
  local bad=0
  "$build/reckon" audit qwen --preset demo --device cuda --all --data README.md --cache "$out/cache" || bad=1
  "$build/reckon" audit af3 --preset tiny --device cuda --all || bad=1
  for model in evoformer pairformer; do
    "$build/reckon" audit $model --preset tiny --device cuda --all --data "$out/rows.aln" || bad=1
  done
  return $bad
}
# Memory errors in every kernel; races in those that use shared memory. Without the tool the part is left out, not passed.
sanitizer() {
  compute-sanitizer --tool memcheck --error-exitcode 9 "$build/tests/cuda_test" --gtest_brief=1 --gtest_filter='*AgreesWithTheReference*' &&
  compute-sanitizer --tool racecheck --error-exitcode 9 "$build/tests/cuda_test" --gtest_brief=1 --gtest_filter='*RepeatsItsBits*'
}
profiler() {
  "$build/reckon" train qwen --preset demo --device cuda --dtype bf16 --fuse all --steps 4 --data README.md --cache "$out/cache" \
    --trace-device on --report full --json "$out/profiled.json"
}
benchmark() {
  python3 benchmarks/vs_pytorch.py --device cuda --reckon "$build/reckon" --dtypes bf16 --torch eager,compile,cudnn --rounds 5 --seconds 4 \
    --policies none,selective-low,sublayer-low --out "$out/vs-pytorch"
}

# A small alignment in which every column can be learned.
python3 - "$out/rows.aln" <<'PY'
import random, sys
random.seed(1)
letters = "ARNDCQEGHILKMFPSTWYV"
with open(sys.argv[1], "w") as f:
    for _ in range(64):
        f.write("".join(letters[(3 * c + random.randrange(2)) % 20] for c in range(48)) + "\n")
PY
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv > "$out/device.csv" 2>&1 || true
export -f compile kernels parity audit sanitizer profiler benchmark
export build out
part build 240 bash -c compile
if [ ! -x "$build/reckon" ]; then
  verdict rest 0 "failed (nothing was built)"
  exit 1
fi
part kernels 120 bash -c kernels
part parity 120 bash -c parity
part audit 90 bash -c audit
if command -v compute-sanitizer > /dev/null; then
  part sanitizer 240 bash -c sanitizer
else
  case " $parts " in *" sanitizer "*) verdict sanitizer 0 "left out: this machine has no compute-sanitizer" ;; esac
fi
part profiler 60 bash -c profiler
part benchmark 240 bash -c benchmark
echo
cat "$out/verdicts.txt"
exit $failed
