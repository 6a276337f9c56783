#!/usr/bin/env bash
# Installs what is missing, builds, trains two demo models on real data, and shows what each flag did to memory.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install_dependencies.sh
scripts/build.sh build
data=${RECKON_DATA:-data}
runs=${RECKON_RUNS:-runs}
mkdir -p "$runs"

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
train() {  # name, then the flags
  local name=$1
  shift
  say "reckon train $*"
  build/reckon train "$@" --cache "$runs/cache" --out "$runs/$name" --report "${REPORT:-none}"
}

REPORT=full train qwen qwen --data "$data/licenses" --preset demo --steps 60
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
