#!/usr/bin/env bash
# From a bare Debian 12 to the first table: installs what is missing, builds the program only, trains two demo models on real
# data, and shows what each flag did to memory. The CUDA plugin is built where a GPU is present.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${RECKON_DATA:-data}
runs=${RECKON_RUNS:-runs}

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
step() { say "[$1 of 4, $((SECONDS / 60)) min $((SECONDS % 60)) s] $2"; }
train() {  # name, then the flags
  local name=$1
  shift
  say "reckon train $*"
  local cache=()
  [ "$1" != qwen ] || cache=(--cache "$runs/cache")
  build/reckon train "$@" "${cache[@]}" --out "$runs/$name" --report "${REPORT:-none}"
}

step 1 "Packages that are missing (none: nothing happens)"
scripts/install_dependencies.sh

step 2 "Building the program (some minutes, once)"
options=(-DRECKON_CUDA=OFF)
if nvidia-smi -L 2>/dev/null | grep -q '^GPU'; then options=(-DRECKON_CUDA=AUTO); fi
scripts/build.sh build program "${options[@]}"

step 3 "A training step on paper, then the run itself: the same bytes"
mkdir -p "$runs"
build/reckon plan qwen --preset demo
REPORT=full train qwen qwen --data "$data/licenses" --preset demo --steps 60

step 4 "One flag at a time"
train qwen-block qwen --data "$data/licenses" --preset demo --steps 60 --checkpoint block
train qwen-fused qwen --data "$data/licenses" --preset demo --steps 60 --fuse all
train qwen-bf16 qwen --data "$data/licenses" --preset demo --steps 60 --dtype bf16
REPORT=summary train evoformer evoformer --data "$data/demo_1000.aln" --preset demo --steps 20
train evoformer-fused evoformer --data "$data/demo_1000.aln" --preset demo --steps 20 --fuse all

say "What --checkpoint block changed"
build/reckon compare "$runs/qwen" "$runs/qwen-block"
say "What --fuse all changed"
build/reckon compare "$runs/evoformer" "$runs/evoformer-fused"
say "The dry run is the run"
build/reckon audit qwen --data "$data/licenses" --preset demo --steps 2 --cache "$runs/cache"
build/reckon audit evoformer --data "$data/demo_1000.aln" --preset demo --steps 2
build/reckon audit pairformer --data "$data/demo_1000.aln" --preset demo --steps 2
say "A number before the run: Qwen2.5-72B on paper"
build/reckon plan qwen --config qwen2.5-72b --seq 4096 --checkpoint block --fuse all --dtype bf16
say "Done after $((SECONDS / 60)) min $((SECONDS % 60)) s. Next: build/reckon --help, or README.md; the runs are in $runs/"
